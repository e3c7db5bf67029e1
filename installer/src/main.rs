//! The program `install`; resident on a host it is called `fz`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    installer::cli::main()
}
