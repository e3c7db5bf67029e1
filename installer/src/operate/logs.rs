//! The output of services as lines.

use crate::engine::logs::LogChunk;
use crate::engine::{Engine, EngineError, label};
use crate::services::parking::Standing;
use futures_util::{Stream, StreamExt as _, stream};
use manifest_schema::ProjectName;
use serde::Serialize;

/// Longest line of a log that is kept whole.
const MAX_LOG_LINE: usize = 64 << 10;

/// One line of a service's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// The service.
    pub service: String,
    /// It came from standard error.
    pub stderr: bool,
    /// The line as the service wrote it, without its end; see [`crate::services::failure::clean`] before it goes
    /// to a terminal.
    pub text: String,
}

/// Why there is no output to show.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The project has no such service.
    #[error("project {project} has no service {service}")]
    NoService {
        /// The project.
        project: ProjectName,
        /// The name that was asked for.
        service: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Lines of one service, or of all, the last `tail` of each (`None`: all), and with `follow` those
/// that come. Lines of several services come as they arrive.
///
/// # Errors
/// When the project has no such service, or the engine fails; later errors are items of the stream.
pub async fn logs(
    engine: &Engine,
    project: &ProjectName,
    service: Option<&str>,
    tail: Option<usize>,
    follow: bool,
) -> Result<impl Stream<Item = Result<LogLine, EngineError>> + Send + use<>, LogsError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    let mut streams = Vec::new();
    for container in standing.visible() {
        let name = container.labels.get(label::SERVICE).cloned().unwrap_or_default();
        if service.is_some_and(|wanted| wanted != name) {
            continue;
        }
        streams.push(lines(name, engine.logs(&container.id, tail, follow, false)?).boxed());
    }
    if let (Some(service), true) = (service, streams.is_empty()) {
        return Err(LogsError::NoService { project: project.clone(), service: service.to_owned() });
    }
    Ok(stream::select_all(streams))
}

/// Cuts chunks into lines, apart for both outputs.
fn lines(
    service: String,
    chunks: impl Stream<Item = Result<LogChunk, EngineError>> + Send,
) -> impl Stream<Item = Result<LogLine, EngineError>> + Send {
    struct State<C> {
        chunks: std::pin::Pin<Box<C>>,
        rest: [Vec<u8>; 2],
        ready: std::collections::VecDeque<Result<LogLine, EngineError>>,
        ended: bool,
    }
    let state = State {
        chunks: Box::pin(chunks),
        rest: [Vec::new(), Vec::new()],
        ready: std::collections::VecDeque::new(),
        ended: false,
    };
    stream::unfold(state, move |mut state| {
        let service = service.clone();
        async move {
            loop {
                if let Some(line) = state.ready.pop_front() {
                    return Some((line, state));
                }
                if state.ended {
                    return None;
                }
                let line = |stderr: bool, bytes: &[u8]| {
                    let text = String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned();
                    Ok(LogLine { service: service.clone(), stderr, text })
                };
                match state.chunks.next().await {
                    Some(Ok(chunk)) => {
                        let [out, err] = &mut state.rest;
                        let rest = if chunk.stderr { err } else { out };
                        for byte in &chunk.bytes {
                            if *byte == b'\n' || rest.len() >= MAX_LOG_LINE {
                                state.ready.push_back(line(chunk.stderr, rest));
                                rest.clear();
                            }
                            if *byte != b'\n' {
                                rest.push(*byte);
                            }
                        }
                    }
                    Some(Err(error)) => {
                        state.ended = true;
                        state.ready.push_back(Err(error));
                    }
                    None => {
                        state.ended = true;
                        for (stderr, rest) in [false, true].into_iter().zip(&state.rest) {
                            if !rest.is_empty() {
                                state.ready.push_back(line(stderr, rest));
                            }
                        }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_become_lines() {
        let chunk = |stderr, text: &'static str| Ok(LogChunk { stderr, bytes: text.as_bytes().into() });
        let chunks =
            stream::iter([chunk(false, "one\ntw"), chunk(true, "oops\r\n"), chunk(false, "o\n\nend")]);
        let lines: Vec<String> =
            lines("web".to_owned(), chunks).map(|line| line.unwrap().text).collect().await;
        assert_eq!(lines, ["one", "oops", "two", "", "end"]);
    }

    #[tokio::test]
    async fn a_line_without_end_does_not_fill_memory() {
        let chunks =
            stream::iter((0..100).map(|_| Ok(LogChunk { stderr: false, bytes: vec![b'x'; 10_000].into() })));
        let longest = lines("web".to_owned(), chunks)
            .map(|line| line.unwrap().text.len())
            .fold(0, |a, b| async move { a.max(b) })
            .await;
        assert_eq!(longest, MAX_LOG_LINE);
    }
}
