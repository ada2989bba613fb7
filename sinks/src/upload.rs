//! The body of a PUT or POST: the staged file in pieces, read as the connection takes them.
//!
//! Memory is bounded by the permits of the sink, and the last piece is withheld unless the digest of all is right.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::delivery::BodyReader;
use crate::{Body, SinkError};

/// Pieces of 1 MiB that one sink holds at once, over all its deliveries.
pub(crate) const PIECES_MAX: usize = 16;

/// Bytes that the system may hold of a body after its last piece has left, for as much as it lets a connection have.
const HELD_MAX: u64 = 4 << 20;
/// Bytes a second at which those may go on. A slower way is taken for one that stands still.
const RATE_MIN: u64 = 16 << 10;

/// What the sender can see of a body that it has given away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Arc<State>);

#[derive(Debug)]
struct State {
    /// When the last piece left; at first, when there was none yet.
    moved: Mutex<Instant>,
    length: OnceLock<u64>,
    failure: OnceLock<Failure>,
}

impl Default for State {
    fn default() -> State {
        State { moved: Mutex::new(Instant::now()), length: OnceLock::new(), failure: OnceLock::new() }
    }
}

/// Why the body could not be read; cheap to keep, made into an error when it is asked for.
#[derive(Debug)]
struct Failure {
    message: String,
}

/// Nothing moved for the given time.
#[derive(Debug, thiserror::Error)]
#[error("nothing moved for {} s", .0.as_secs_f32())]
pub(crate) struct Stalled(Duration);

impl Upload {
    /// The body for the HTTP client.
    pub(crate) fn body(&self, body: &Body, permits: &Arc<Semaphore>) -> Result<reqwest::Body, SinkError> {
        // An upload has one body.
        let _ = self.0.length.set(body.length);
        let source = Source { reader: BodyReader::new(body)?, permits: permits.clone(), upload: self.clone() };
        Ok(reqwest::Body::wrap_stream(stream::try_unfold(source, Source::next)))
    }

    /// Why reading the staged file failed, if it did.
    pub(crate) fn staged_error(&self) -> Option<SinkError> {
        self.0.failure.get().map(|failure| SinkError::staged(failure.message.clone()))
    }

    /// Waits for `work` as long as pieces leave: a large body may take hours, a stalled one `idle` and what the bytes that the
    /// system holds need on a slow way.
    pub(crate) async fn while_moving<T>(&self, idle: Duration, work: impl Future<Output = T>) -> Result<T, Stalled> {
        let idle =
            idle + Duration::from_secs(self.0.length.get().map_or(0, |length| *length.min(&HELD_MAX) / RATE_MIN));
        let mut work = std::pin::pin!(work);
        let mut until = self.moved() + idle;
        loop {
            match tokio::time::timeout_at(until, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) if self.moved() + idle <= until => return Err(Stalled(idle)),
                Err(_) => until = self.moved() + idle,
            }
        }
    }

    fn moved(&self) -> Instant {
        *self.0.moved.lock().expect("no thread panics while it reads a clock")
    }

    fn moves(&self) {
        *self.0.moved.lock().expect("no thread panics while it reads a clock") = Instant::now();
    }
}

struct Source {
    reader: BodyReader,
    permits: Arc<Semaphore>,
    upload: Upload,
}

impl Source {
    /// The next piece and what is left.
    async fn next(self) -> Result<Option<(Bytes, Source)>, SinkError> {
        let length = self.reader.next_length();
        if length == 0 {
            return Ok(None);
        }
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Source { mut reader, permits, upload } = self;
        let read = tokio::task::spawn_blocking(move || {
            let mut data = vec![0; length];
            reader.read(&mut data).map(|()| (data, reader))
        });
        let read =
            read.await.unwrap_or_else(|stopped| Err(SinkError::staged("the read was stopped").with_source(stopped)));
        let (data, reader) = read.inspect_err(|error| {
            // Only the first failure counts, and there is only one reader.
            let _ = upload.0.failure.set(Failure { message: error.message.clone() });
        })?;
        upload.moves();
        let piece = Bytes::from_owner(Piece { data, _permit: permit });
        Ok(Some((piece, Source { reader, permits, upload })))
    }
}

/// Gives its permit back when the connection has sent it.
struct Piece {
    data: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_has_time_and_one_that_stands_still_has_not() {
        let (upload, began) = (Upload::default(), Instant::now());
        let work = async {
            for _ in 0..10 {
                tokio::time::sleep(IDLE * 9 / 10).await;
                upload.moves();
            }
            std::future::pending::<()>().await;
        };
        assert!(upload.while_moving(IDLE, work).await.is_err());
        assert_eq!(began.elapsed(), IDLE * 10, "so long since the last piece, not once more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_system_holds_of_a_body_has_time_on_a_slow_way() {
        for (length, held) in [(1 << 10, 0), (1 << 20, 64), (1 << 30, 256)] {
            let (upload, began) = (Upload::default(), Instant::now());
            upload.0.length.set(length).unwrap();
            assert!(upload.while_moving(IDLE, std::future::pending::<()>()).await.is_err());
            assert_eq!(began.elapsed(), IDLE + Duration::from_secs(held), "{length} bytes");
        }
    }
}
