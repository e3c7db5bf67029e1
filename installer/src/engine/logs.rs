//! The output of a container.

use super::{Engine, Result, checked, failure};
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

/// One line or chunk of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// It came from standard error.
    pub stderr: bool,
    /// The bytes as the container wrote them: not fit for a terminal without cleaning.
    pub bytes: Bytes,
}

impl Engine {
    /// A container's output, the last `tail` lines (`None`: all), and with `follow` all that comes.
    ///
    /// # Errors
    /// When the name cannot be used; later errors are items of the stream.
    pub fn logs(
        &self,
        container: &str,
        tail: Option<usize>,
        follow: bool,
        timestamps: bool,
    ) -> Result<impl Stream<Item = Result<LogChunk>> + Send + use<>> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .timestamps(timestamps)
            .tail(&tail)
            .build();
        let docker = self.docker.clone();
        let name = checked("container", container)?.to_owned();
        let chunks = docker.logs(&name, Some(options)).boxed();
        Ok(chunks.map(move |chunk| match chunk {
            Ok(LogOutput::StdErr { message }) => Ok(LogChunk { stderr: true, bytes: message }),
            Ok(other) => Ok(LogChunk { stderr: false, bytes: other.into_bytes() }),
            Err(error) => Err(failure(format!("read the log of {name}"), error)),
        }))
    }
}
