//! A staged bulk request, taken apart into its items, so that those with a verdict are left out.
//!
//! Invariant: nothing is sent before the digest of the whole staged body was right.

use bytes::{Bytes, BytesMut};

use crate::delivery::BodyReader;
use crate::{Delivery, Items, SinkError};

/// One item: its place in the request as it was staged, and its two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) number: u32,
    pub(super) lines: Bytes,
}

/// The items that have no verdict yet. Reads the staged file, off the runtime's threads.
pub(super) async fn open_items(delivery: &Delivery) -> Result<Vec<Item>, SinkError> {
    let mut reader = BodyReader::new(&delivery.body)?;
    let length = usize::try_from(delivery.body.length).expect("a request fits into memory");
    let read = tokio::task::spawn_blocking(move || {
        let mut body = vec![0; length];
        let mut at = 0;
        while at < length {
            let end = at + reader.next_length();
            reader.read(&mut body[at..end])?;
            at = end;
        }
        Ok(Bytes::from(body))
    });
    let body =
        read.await.unwrap_or_else(|stopped| Err(SinkError::staged("the read was stopped").with_source(stopped)))?;
    split(&body, delivery.items.as_ref())
}

/// The lines of these items, one after another.
pub(super) fn body_of(items: &[Item]) -> Bytes {
    let mut body = BytesMut::with_capacity(items.iter().map(|item| item.lines.len()).sum());
    items.iter().for_each(|item| body.extend_from_slice(&item.lines));
    body.freeze()
}

/// Two lines make an item.
fn split(body: &Bytes, items: Option<&Items>) -> Result<Vec<Item>, SinkError> {
    let ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let (mut open, mut number, mut start) = (Vec::new(), 0, 0);
    for end in ends.skip(1).step_by(2) {
        if !items.is_some_and(|items| items.settled.contains(number)) {
            open.push(Item { number, lines: body.slice(start..end) });
        }
        (number, start) = (number + 1, end);
    }
    let whole = start == body.len() && items.is_none_or(|items| items.count == number);
    if whole { Ok(open) } else { Err(SinkError::staged("the staged bytes are not a bulk request of as many items")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(body: &'static str, count: u32, settled: &[u32]) -> Result<Vec<Item>, SinkError> {
        let items = Items { count, settled: settled.iter().copied().collect() };
        split(&Bytes::from_static(body.as_bytes()), Some(&items))
    }

    #[test]
    fn two_lines_are_an_item_and_settled_ones_are_left_out() {
        let body = "{\"create\":{}}\n{\"n\":0}\n{\"create\":{}}\n{\"n\":1}\n{\"create\":{}}\n{\"n\":2}\n";
        let numbers = |items: Vec<Item>| items.iter().map(|item| item.number).collect::<Vec<_>>();
        assert_eq!(body_of(&items(body, 3, &[]).unwrap()), body);
        let open = items(body, 3, &[1]).unwrap();
        assert_eq!(body_of(&open), "{\"create\":{}}\n{\"n\":0}\n{\"create\":{}}\n{\"n\":2}\n");
        assert_eq!(numbers(open), [0, 2]);
        assert_eq!(items(body, 3, &[0, 1, 2]).unwrap(), []);
        assert_eq!(items("", 0, &[]).unwrap(), []);
    }

    #[test]
    fn another_number_of_lines_is_not_what_was_staged() {
        for (body, count) in [("a\nb\n", 2), ("a\nb\nc\n", 1), ("a\nb\nc", 1), ("a\nb", 1), ("", 1)] {
            assert_eq!(items(body, count, &[]).unwrap_err().kind, crate::SinkErrorKind::Staged, "{body:?}");
        }
    }
}
