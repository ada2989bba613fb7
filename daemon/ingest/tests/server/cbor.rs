//! CBOR as the SDKs for Java speak it. The bytes are put together here and share no code with the server.

use crate::client::{Answer, GOOD, Signer, send};
use crate::house::House;

const CBOR: Signer = Signer { content_type: "application/x-amz-cbor-1.1", ..GOOD };

fn head(major: u8, length: usize) -> Vec<u8> {
    match u8::try_from(length).unwrap() {
        short @ 0..24 => vec![major << 5 | short],
        long => vec![major << 5 | 24, long],
    }
}

fn text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

/// Without a length, as Jackson writes it.
fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let members = members.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
    [vec![0xbf], members.collect(), vec![0xff]].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [vec![0x9f], items.concat(), vec![0xff]].concat()
}

async fn call(house: &House, operation: &str, body: &[u8]) -> Answer {
    send(house.addr, &CBOR.kinesis(operation, body)).await
}

fn has(answer: &Answer, part: &[u8]) -> bool {
    answer.bytes.windows(part.len()).any(|window| window == part)
}

/// The text of a member.
fn member(answer: &Answer, name: &str) -> String {
    let key = text(name);
    let at = answer.bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    let (length, start) = match answer.bytes[at] {
        first @ 0x60..0x78 => (usize::from(first - 0x60), at + 1),
        0x78 => (usize::from(answer.bytes[at + 1]), at + 2),
        _ => (usize::from(answer.bytes[at + 1]) << 8 | usize::from(answer.bytes[at + 2]), at + 3),
    };
    String::from_utf8(answer.bytes[start..start + length].to_vec()).unwrap()
}

#[tokio::test]
async fn records_come_back_as_the_bytes_and_times_that_they_are() {
    let house = House::open().await;
    let name = || ("StreamName", text("s"));
    let made = call(&house, "CreateStream", &map(&[name(), ("ShardCount", vec![1])])).await;
    assert_eq!((made.status, &made.bytes[..]), (200, &b""[..]), "{made:?}");
    assert!(made.head.to_ascii_lowercase().contains("content-type: application/x-amz-cbor-1.1"), "{}", made.head);
    let entry = |data: &[u8]| map(&[("Data", blob(data)), ("PartitionKey", text("k")), ("More", list(&[vec![0xf6]]))]);
    let put = map(&[("Records", list(&[entry(b"\x00\xff"), entry(b""), entry(b"third")])), name()]);
    let answer = call(&house, "PutRecords", &put).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(has(&answer, &[text("FailedRecordCount"), vec![0]].concat()), "{answer:?}");
    let shard = ("ShardId", text("shardId-000000000000"));
    // Noon of the test's clock.
    let time = [vec![0xc1, 0x1b], 1_705_320_000_123_u64.to_be_bytes().to_vec()].concat();
    let at = [name(), shard, ("ShardIteratorType", text("AT_TIMESTAMP")), ("Timestamp", time.clone())];
    let iterator = member(&call(&house, "GetShardIterator", &map(&at)).await, "ShardIterator");
    let long = [vec![0x79], u16::try_from(iterator.len()).unwrap().to_be_bytes().to_vec(), iterator.into()].concat();
    let records = call(&house, "GetRecords", &map(&[("ShardIterator", long)])).await;
    assert_eq!(records.status, 200, "{records:?}");
    for data in [&b"\x00\xff"[..], b"", b"third"] {
        assert!(has(&records, &[text("Data"), blob(data)].concat()), "{records:?}");
    }
    assert!(has(&records, &[text("ApproximateArrivalTimestamp"), time].concat()), "{records:?}");
    assert!(has(&records, &[text("MillisBehindLatest"), vec![0]].concat()), "{records:?}");
    house.close().await;
}

#[tokio::test]
async fn refusals_are_cbor_too_and_nothing_is_guessed() {
    let house = House::open().await;
    let name = ("StreamName", text("nobody"));
    let one = |data: Vec<u8>| map(&[name.clone(), ("Data", data), ("PartitionKey", text("k"))]);
    let deep = b"\x81".repeat(100_000);
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("PutRecord", one(blob(b"x")), "ResourceNotFoundException"),
        // Base64 is for JSON.
        ("PutRecord", one(text("eHg=")), "SerializationException"),
        ("PutRecord", one(vec![7]), "SerializationException"),
        ("PutRecord", one(vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), "SerializationException"),
        ("PutRecords", map(&[name.clone(), ("Records", deep)]), "SerializationException"),
        ("PutRecords", map(&[name.clone(), ("Records", map(&[]))]), "SerializationException"),
        ("DescribeStream", b"{}".to_vec(), "SerializationException"),
        ("ListStreams", list(&[]), "SerializationException"),
    ];
    for (operation, body, code) in cases {
        let answer = call(&house, operation, &body).await;
        assert_eq!((answer.status, member(&answer, "__type").as_str()), (400, code), "{operation}: {answer:?}");
        let key = if code == "SerializationException" { "Message" } else { "message" };
        assert!(!member(&answer, key).is_empty());
    }
    let firehose = send(house.addr, &CBOR.request("ListDeliveryStreams", &map(&[]))).await;
    assert_eq!((firehose.status, member(&firehose, "__type").as_str()), (404, "UnknownOperationException"));
    house.close().await;
}
