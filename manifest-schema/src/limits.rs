//! Ceilings on what both programs read from outside: the container format, and the texts that people write. Each
//! says why it has its value; a reader that needs more changes it here, in sight, and not at the place that was
//! tired of it. What one program alone reads (an agent's answer, an image archive) has its ceiling beside its reader.
//! A test (`tests/limits.rs`) finds ceilings that stand elsewhere, and those without a reason.

/// Content bytes of one payload frame. 8 MiB costs 0.6 % of size at level 3 against one long
/// stream, and two cores times three buffers of it stay far below the 256 MiB of memory we allow.
pub const FRAME_BYTES: usize = 8 << 20;

/// Largest content size of a frame a reader accepts. Twice what the writer makes, so that a later
/// writer may choose 16 MiB without a new format version.
pub const MAX_FRAME_BYTES: u32 = 16 << 20;

/// Largest compressed size of one frame: zstd's bound for incompressible data is under 0.4 % + 64.
pub const MAX_COMPRESSED_FRAME_BYTES: u32 = MAX_FRAME_BYTES + (MAX_FRAME_BYTES >> 8) + 64;

/// Largest signed index: 32 MiB hold 838,000 frames, 6.4 TiB of content, and fit in memory twice.
pub const MAX_INDEX_BYTES: u32 = 32 << 20;

/// Largest HEAD frame: the largest index, the room for signatures and the slack a writer reserves.
pub const MAX_HEAD_BYTES: u32 = MAX_INDEX_BYTES + (32 << 20);

/// Bytes of HEAD kept free for signatures, so that more can be added without moving the payload.
/// An armoured SSHSIG of the accepted kinds (FORMAT.md, 7.7) takes 300 to 450 bytes.
pub const SIGNATURE_ROOM: u32 = 8 << 10;

/// Largest single signature, and the most signatures read: a hostile head cannot make us check
/// thousands of keys.
pub const MAX_SIGNATURE_BYTES: u32 = 4 << 10;
/// See [`MAX_SIGNATURE_BYTES`].
pub const MAX_SIGNATURES: usize = 32;

/// Largest `ferry.json`. 10,000 layers of 400 bytes each are 4 MiB.
pub const MAX_RELEASE_JSON_BYTES: u64 = 16 << 20;

/// Features that one document of version 2 needs, at most: a release that needs more is a new version.
pub const MAX_NEEDS: usize = 32;

/// Extension of an index of version 2: 64 recipients of some 200 bytes take 13 KiB, and what is larger would cost frames.
pub const MAX_EXTENSION_BYTES: u32 = 64 << 10;

/// Largest `serial`: the whole numbers that every reader of JSON holds exactly end at 2^53 − 1.
pub const MAX_SERIAL: u64 = (1 << 53) - 1;

/// Largest YAML document (manifest or Compose file) and template. The largest Compose files seen
/// in public are under 1 MiB.
pub const MAX_YAML_BYTES: usize = 4 << 20;

/// Nodes of one YAML document after aliases and merges: a "billion laughs" stops here.
pub const MAX_YAML_NODES: usize = 250_000;

/// Nesting depth of YAML: Compose needs under ten.
pub const MAX_YAML_DEPTH: usize = 64;

/// Bytes of scalars after aliases are expanded: shared blocks cost nothing in practice, and a bomb of long strings
/// stops.
pub(crate) const MAX_EXPANDED_BYTES: usize = 4 * MAX_YAML_BYTES;

/// Mistakes shown at once. Nobody reads more, and a program that prints them must end.
pub(crate) const MAX_MISTAKES: usize = 100;

/// Variables of a manifest. Nobody answers more questions, and each `when` is evaluated with all answers above it.
pub const MAX_VARIABLES: usize = 1000;

/// Compose files of one project, whole folders of modules counted.
pub(crate) const MAX_COMPOSE_TEXTS: usize = 256;

/// Bytes of all Compose files of one project: four of the largest.
pub(crate) const MAX_COMPOSE_BYTES: usize = 4 * MAX_YAML_BYTES;

/// Length of a chain of `extends` or `include`: people lose the thread after three.
pub(crate) const MAX_COMPOSE_CHAIN: usize = 32;

/// Values that merging copies: chains of services that extend each other double with each step.
pub(crate) const MAX_MERGED_NODES: usize = 1_000_000;

/// Bytes that merging copies, for the same reason: all Compose files of a project, four times over.
pub(crate) const MAX_MERGED_BYTES: usize = 4 * MAX_COMPOSE_BYTES;

/// Depth of `${A:-${B:-…}}`: each level is a call of the reader.
pub(crate) const MAX_INTERPOLATION_DEPTH: usize = 32;

/// Bytes that interpolation makes in one project: a variable that is long and used often stops here.
pub(crate) const MAX_INTERPOLATED_BYTES: usize = 4 * MAX_YAML_BYTES;

/// Services of one project. More on one host are a mistake, and each check compares them.
pub(crate) const MAX_SERVICES: usize = 1000;

/// Containers of one service. More on one host are a mistake.
pub(crate) const MAX_REPLICAS: i64 = 100;

/// Ports of one range. A longer one is a mistake, and each port costs a proxy process.
pub(crate) const MAX_PORT_RANGE: usize = 1000;

/// Ports, mounts, files and the like of one project: each check compares them with each other.
pub(crate) const MAX_PROJECT_ITEMS: usize = 10_000;

/// Bytes of all env files of one project: four of the largest.
pub(crate) const MAX_ENV_FILE_BYTES: usize = 4 * MAX_YAML_BYTES;

/// Largest image configuration or OCI manifest or index. containerd's own limit is 8 MiB.
pub const MAX_IMAGE_JSON_BYTES: u64 = 8 << 20;

/// Layers of one image in a bundle. Podman takes 500, Docker's older stores [`GRAPH_DRIVER_LAYERS`].
pub const MAX_LAYERS: usize = 128;

/// Layers of one image that Docker's stores of graph drivers take (moby, `layer/layer_store.go`; 126 are refused by
/// 20.10 and 28.5 with `max depth exceeded`). The containerd store of 29.7 and Podman 4.3 run 128.
pub const GRAPH_DRIVER_LAYERS: usize = 125;

/// Entries of one image archive or artifact archive that is scanned: 1 million names fit in
/// memory.
pub const MAX_ARCHIVE_ENTRIES: usize = 1 << 20;

/// Longest image reference, written in full. Docker's own limit is 255 for the repository and 128 for the tag.
pub(crate) const MAX_REFERENCE_BYTES: usize = 512;

/// Longest path inside a bundle in bytes (`PATH_MAX` less the release folder's own path).
pub const MAX_PATH_BYTES: usize = 3072;

/// Templates that one template includes, directly or not: more are no longer one document.
pub(crate) const MAX_INCLUDED_TEMPLATES: usize = 256;

/// Bytes of a template with all that it includes: four of the largest.
pub(crate) const MAX_TEMPLATE_BYTES: usize = 4 * MAX_YAML_BYTES;

/// Operators in one expression, and `elif` of one `if`: enough for a hundred values joined by hand, and the parser
/// of the template engine stays within the 2 MiB of stack that a thread has.
pub(crate) const MAX_OPERATORS: usize = 500;

/// Depth of calls of macros and includes; each takes some kilobytes of stack.
pub(crate) const MAX_CALL_DEPTH: usize = 100;

/// Largest rendered template. A config past 16 MiB is a mistake, and a loop must not fill memory.
pub const MAX_RENDERED_BYTES: usize = 16 << 20;

/// Largest sum of the files that a Compose file names: all of them are in memory while a release is
/// laid out, and larger things are artifacts or seeds.
pub const MAX_COMPOSE_FILES_BYTES: u64 = 64 << 20;

/// Most files that a Compose file names, whole folders counted: each takes 200 to 300 bytes of
/// `ferry.json`, so that they take a third of [`MAX_RELEASE_JSON_BYTES`].
pub const MAX_COMPOSE_FILES: usize = 20_000;

/// Memory (addresses) of the process that renders templates. The largest templates, with their output gathered by
/// macros some times over, stay below 200 MiB; a host with 1 GiB gets through with it.
pub const RENDERING_MEMORY_BYTES: u64 = 512 << 20;

/// Processor time for all templates of one release: the 5,000,000 steps of a template take under 2 s on a slow
/// machine.
pub const RENDERING_CPU_SECONDS: u64 = 30;

/// Time for the same by the clock: four times as much, for machines that are busy with something else.
pub const RENDERING_WALL_SECONDS: u64 = 120;

/// Largest answer for all templates of one release, as JSON: sixteen of the largest outputs.
pub const MAX_RENDERING_ANSWER_BYTES: u64 = 16 * MAX_RENDERED_BYTES as u64;

/// Steps a template may take before it is called endless (minijinja "fuel").
pub(crate) const TEMPLATE_FUEL: u64 = 5_000_000;

/// Largest stored file (state, answers, pinned keys) read back from the host.
pub const MAX_STATE_BYTES: u64 = 16 << 20;

/// Longest journal of installs before it begins anew: some ten thousand steps.
pub const MAX_JOURNAL_BYTES: u64 = 4 << 20;
