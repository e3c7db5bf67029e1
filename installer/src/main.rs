//! The program `install`; resident on a host it is called `fz`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Services read what is laid out under users of their own. A hardened root's umask of 077 would
    // shut them out of their folders; what is secret gets its mode by name and not from here.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    installer::cli::main()
}
