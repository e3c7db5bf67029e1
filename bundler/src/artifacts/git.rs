//! A path of a git repository at a reference, read by the `git` program: no library knows all
//! that a repository can be.
//!
//! Invariants: what is taken is what the commit holds, byte for byte, whatever filters,
//! attributes, replacements or configuration the machine has; nothing is fetched, no hook runs, and
//! no text from the manifest is taken for an option. (Attributes such as `export-ignore` are
//! configuration too: they do not apply.)

use crate::cancel::Cancel;
use crate::read::exactly::Exactly;
use anyhow::{Context, bail};
use manifest_schema::BundlePath;
use manifest_schema::limits::{MAX_ARCHIVE_ENTRIES, MAX_PATH_BYTES};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest listing of a tree: a million entries of 256 bytes.
const MAX_LISTING_BYTES: u64 = 256 << 20;

/// First bytes of a Git LFS pointer (git-lfs, docs/spec.md).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// A commit's files below one path.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Full id of the commit that the reference meant.
    pub commit: String,
    /// True where the path is a single file; it is then the only entry, with an empty path.
    pub single_file: bool,
    /// The files, in git's order.
    pub files: Vec<TreeFile>,
}

#[derive(Debug)]
pub(crate) struct TreeFile {
    /// Path below the tree; empty for a single file.
    pub path: String,
    pub kind: TreeFileKind,
}

#[derive(Debug)]
pub(crate) enum TreeFileKind {
    File {
        blob: Blob,
        /// Its size in bytes.
        size: u64,
        /// True for mode 100755.
        executable: bool,
    },
    /// A symbolic link to this target.
    Symlink(String),
}

/// Content in a repository.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    objects: Arc<Objects>,
    id: String,
    size: u64,
}

/// Finds the files of `path` (all files, where it is `None`) in `repository` at `reference`.
///
/// # Errors
/// When `git` is missing, the folder is no repository, the reference or the path does not exist,
/// or the tree holds submodules or Git LFS pointers, whose content is elsewhere.
pub(crate) fn tree(
    repository: &Path,
    reference: &str,
    path: Option<&BundlePath>,
    cancel: &Cancel,
) -> anyhow::Result<Tree> {
    let shown = repository.display();
    if reference.is_empty()
        || reference.starts_with('-')
        || reference.chars().any(|c| c.is_control() || c == ':')
    {
        bail!("`{}` is not the name of a commit, tag or branch", reference.escape_debug());
    }
    let repository = repository.canonicalize().with_context(|| format!("{shown} is not a git repository"))?;
    run(&repository, &["rev-parse", "--git-dir"])
        .with_context(|| format!("{shown} is not a git repository"))?;
    let commit = run(&repository, &["rev-parse", "--verify", "--quiet", &format!("{reference}^{{commit}}")])
        .with_context(|| format!("git repository {shown} has no commit, tag or branch `{reference}`"))?;
    let objects = Arc::new(Objects { repository, idle: Mutex::new(None) });
    let Some(path) = path else {
        return collect(&objects, commit.clone(), &commit, None, cancel);
    };
    let object = format!("{commit}:{path}");
    // Asked of the tree: the commit of a submodule is not in this repository.
    let entry = run(&objects.repository, &["ls-tree", "--full-tree", &commit, "--", path.as_str()])?;
    let kind = entry.split_whitespace().nth(1);
    match kind.with_context(|| format!("git repository {shown} has no `{path}` at `{reference}`"))? {
        "tree" => collect(&objects, commit, &object, None, cancel),
        "blob" => {
            let (folder, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
            let folder = if folder.is_empty() { commit.clone() } else { format!("{commit}:{folder}") };
            collect(&objects, commit, &folder, Some(name), cancel)
        }
        _ => bail!("`{path}` of git repository {shown} is a submodule; name the submodule's own repository"),
    }
}

/// Lists `tree`: all below it, or the one file `only`.
fn collect(
    objects: &Arc<Objects>,
    commit: String,
    tree: &str,
    only: Option<&str>,
    cancel: &Cancel,
) -> anyhow::Result<Tree> {
    let mut arguments = vec!["ls-tree", "-z", "-l", "--full-tree"];
    arguments.extend(only.is_none().then_some("-r"));
    arguments.push(tree);
    let child =
        git(&objects.repository, &arguments).stdout(Stdio::piped()).spawn().context("git cannot be run")?;
    let mut child = Running(child);
    let mut listing =
        BufReader::new(child.0.stdout.take().context("git has no output")?.take(MAX_LISTING_BYTES));
    let mut files = Vec::new();
    let mut submodules = Vec::new();
    let mut record = Vec::new();
    while listing.read_until(0, &mut record)? > 0 {
        cancel.check()?;
        let text = std::str::from_utf8(&record).context("a path in the repository is not UTF-8")?;
        let (mode, id, size, path) =
            record_fields(text).context("git's listing of a tree has an unknown form")?;
        if only.is_none_or(|only| only == path) {
            let path = if only.is_some() { String::new() } else { path.to_owned() };
            match mode {
                "160000" => submodules.push(path),
                "040000" => {}
                "120000" => {
                    let blob = Blob {
                        objects: Arc::clone(objects),
                        id: id.to_owned(),
                        size: size.unwrap_or_default(),
                    };
                    files.push(TreeFile { kind: TreeFileKind::Symlink(blob.target(&path)?), path });
                }
                mode => {
                    let size = size.with_context(|| format!("git lists no size for `{path}`"))?;
                    let blob = Blob { objects: Arc::clone(objects), id: id.to_owned(), size };
                    blob.refuse_lfs_pointer(&path)?;
                    files.push(TreeFile {
                        kind: TreeFileKind::File { blob, size, executable: mode == "100755" },
                        path,
                    });
                }
            }
        }
        if files.len() > MAX_ARCHIVE_ENTRIES {
            bail!("it has more than {MAX_ARCHIVE_ENTRIES} files");
        }
        record.clear();
    }
    drop(listing);
    if !child.0.wait().context("git cannot be waited for")?.success() {
        bail!("git could not list all of {commit}: is the repository whole?");
    }
    if !submodules.is_empty() {
        bail!(
            "it holds submodules, whose content is in other repositories: {}; carry each as an artifact of its own",
            submodules.join(", ")
        );
    }
    Ok(Tree { commit, single_file: only.is_some(), files })
}

/// `MODE TYPE ID SIZE\tPATH\0`; the size is `-` for what is not a blob.
fn record_fields(record: &str) -> Option<(&str, &str, Option<u64>, &str)> {
    let (fields, path) = record.strip_suffix('\0')?.split_once('\t')?;
    let mut fields = fields.split_ascii_whitespace();
    let (mode, _, id, size) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some((mode, id, size.parse().ok(), path))
}

/// `git` with an environment that holds nothing of the user's.
fn git(repository: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for kept in ["PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
        .envs([
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            // A partial clone would fetch what it lacks, with commands that its configuration names.
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_ALLOW_PROTOCOL", "none"),
        ])
        // The folder itself must be the repository, not one that happens to lie above it.
        .env("GIT_CEILING_DIRECTORIES", repository.parent().unwrap_or(repository))
        .args([
            "--no-pager",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "safe.directory=*",
        ])
        .args(arguments)
        .current_dir(repository)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The first line that a small command prints.
fn run(repository: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = git(repository, arguments)
        .stderr(Stdio::piped())
        .output()
        .context("git cannot be run: is it installed?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        match said.lines().find(|line| !line.trim().is_empty()) {
            Some(said) => bail!("git says: {}", said.chars().take(300).collect::<String>()),
            None => bail!("git found nothing"),
        }
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A repository's objects, through one `git cat-file --batch` that serves one reader after another.
#[derive(Debug)]
struct Objects {
    repository: PathBuf,
    idle: Mutex<Option<Batch>>,
}

#[derive(Debug)]
struct Batch {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Running,
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Objects {
    fn batch(&self) -> anyhow::Result<Batch> {
        if let Some(batch) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(batch);
        }
        let mut child = git(&self.repository, &["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("git cannot be run")?;
        let requests = child.stdin.take().context("git has no input")?;
        let answers = BufReader::with_capacity(64 << 10, child.stdout.take().context("git has no output")?);
        Ok(Batch { requests, answers, _child: Running(child) })
    }
}

impl Blob {
    /// The content: exactly its size in bytes.
    ///
    /// # Errors
    /// When the repository has changed or is damaged.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        let what = || format!("object {} of git repository {}", self.id, self.objects.repository.display());
        let mut batch = self.objects.batch()?;
        let request = format!("{}\n", self.id);
        batch
            .requests
            .write_all(request.as_bytes())
            .and_then(|()| batch.requests.flush())
            .with_context(what)?;
        let mut header = Vec::new();
        (&mut batch.answers).take(512).read_until(b'\n', &mut header).with_context(what)?;
        let header = String::from_utf8_lossy(&header);
        if header.trim_end() != format!("{} blob {}", self.id, self.size) {
            bail!("{} is missing or damaged", what());
        }
        let reader = BlobReader { batch: Some(batch), left: self.size, home: Arc::clone(&self.objects) };
        Ok(Box::new(Exactly::new(reader, self.size, what())))
    }

    fn target(&self, path: &str) -> anyhow::Result<String> {
        if self.size > MAX_PATH_BYTES as u64 {
            bail!("the symbolic link `{path}` is longer than {MAX_PATH_BYTES} bytes");
        }
        let mut target = String::new();
        self.open()?
            .read_to_string(&mut target)
            .with_context(|| format!("the symbolic link `{path}` is not text"))?;
        Ok(target)
    }

    fn refuse_lfs_pointer(&self, path: &str) -> anyhow::Result<()> {
        // The specification bounds pointers at 1024 bytes.
        if self.size < LFS_POINTER.len() as u64 || self.size >= 1024 {
            return Ok(());
        }
        let mut content = Vec::new();
        self.open()?.read_to_end(&mut content)?;
        if content.starts_with(LFS_POINTER) {
            bail!("`{path}` is a Git LFS pointer: its content is not in the repository");
        }
        Ok(())
    }
}

/// Reads one blob; the process goes back when the blob was read whole, and ends otherwise.
struct BlobReader {
    batch: Option<Batch>,
    left: u64,
    home: Arc<Objects>,
}

impl BlobReader {
    fn give_back(&mut self) {
        let mut newline = [0; 1];
        if let Some(mut batch) = self.batch.take()
            && batch.answers.read_exact(&mut newline).is_ok()
        {
            *self.home.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(batch) = &mut self.batch else { return Ok(0) };
        let count = (&mut batch.answers).take(self.left).read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        if self.left == 0 {
            self.give_back();
        }
    }
}
