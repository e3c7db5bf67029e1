use bundler::sources::*;
use manifest_schema::progress::Progress;
use std::io::Read;
struct P;
impl Progress for P {
    fn begin(&self, s: &str, t: Option<u64>) { println!("BEGIN {s} {t:?}"); }
    fn advance(&self, _: u64) {}
    fn detail(&self, _: &str) {}
    fn end(&self, s: &str) { println!("END {s}"); }
    fn warn(&self, s: &str) { println!("WARN {s}"); }
}
fn main() {
    let mut args = std::env::args().skip(1);
    let folder = std::path::PathBuf::from(args.next().unwrap());
    let platforms: Vec<manifest_schema::Platform> = args.next().unwrap().split(',').map(|p| p.parse().unwrap()).collect();
    let flags = args.next().unwrap();
    let options = ResolveOptions { offline: flags.contains('o'), refresh: flags.contains('r'), docker_host: std::env::var("DOCKER_HOST").ok(), docker_config: std::env::var_os("DOCKER_CONFIG").map(Into::into) };
    let mut wanted = Vec::new();
    for arg in args {
        let (reference, source) = arg.split_once('=').map_or((arg.as_str(), None), |(a, b)| (a, Some(b)));
        use manifest_schema::manifest::SourceSpec as S;
        let source = source.map(|s| { let (t, r) = s.split_once(':').unwrap(); let r = r.to_owned(); match t { "docker-daemon" => S::DockerDaemon { reference: r }, "docker" => S::Docker { reference: r }, "docker-archive" => S::DockerArchive { path: r, reference: None }, "oci" => S::Oci { path: r, reference: None }, "oci-archive" => S::OciArchive { path: r, reference: None }, _ => panic!() } });
        wanted.push(Wanted { reference: reference.parse().unwrap(), source, place: ("ferry.yaml".into(), 1), preserve: flags.contains('p') });
    }
    let start = std::time::Instant::now();
    match resolve(&wanted, &platforms, &folder, &options, &P) {
        Err(e) => println!("{e}"),
        Ok(found) => for image in found {
            println!("{} {} {} from {} original={:?} index={:?}", image.reference, image.platform, image.source, image.label, image.original.as_ref().map(|o| (&o.media_type, o.digest)), image.index.map(|i| i.digest));
            for layer in &image.layers {
                let mut bytes = Vec::new();
                layer.open().unwrap().read_to_end(&mut bytes).unwrap();
                let ok = manifest_schema::Digest::of(&bytes) == layer.diff_id;
                let mut stored = Vec::new();
                layer.open_stored().unwrap().read_to_end(&mut stored).unwrap();
                let ok2 = layer.stored_digest.is_none_or(|d| d == manifest_schema::Digest::of(&stored));
                println!("  {layer:?} {} {ok} {ok2}", bytes.len());
            }
        }
    }
    println!("{:?}", start.elapsed());
}
