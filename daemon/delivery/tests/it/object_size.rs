//! Objects of a size that was asked for, whatever their encoding makes of the records.

use crate::support::Place;

const MIB: usize = 1 << 20;

/// Records of which every encoding makes something, the same each time; so many words of each are noise.
fn records(count: u64, noise: usize) -> Vec<String> {
    let mut state = 1_u64;
    let mut dice = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let record = |n| {
        let (item, user, bytes) = (dice() % 900, dice() % 5_000, dice());
        let id: String = (0..noise).map(|_| format!("{:08x}", dice())).collect();
        format!(
            "{{\"n\":{n},\"kind\":\"k{}\",\"path\":\"/shop/items/{item}/reviews\",\"user\":\"user-{user}\",\"bytes\":{bytes},\"id\":\"{id}\"}}",
            n % 2
        )
    };
    (0..count).map(record).collect()
}

/// The sizes of the objects below a prefix, in the order in which they were made.
async fn sizes(place: &Place, (count, noise): (u64, usize), prefix: &str) -> Vec<usize> {
    for batch in records(count, noise).chunks(2_000) {
        place.append(&batch.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let status = place.deliver_all(None).await;
    assert_eq!((status.accounting.delivered, status.accounting.failed), (count, 0));
    let traces =
        hydrant_delivery::Traces::open(std::sync::Arc::new(hydrant_disk::RealDisk::new()), &place.delivery_dir());
    let traces = traces.unwrap();
    let mut objects = Vec::new();
    for (key, bytes) in place.objects().into_iter().filter(|(key, _)| key.starts_with(prefix)) {
        let (_, facts) = traces.objects(&key).unwrap().remove(0);
        objects.push((facts.first, bytes.len()));
    }
    objects.sort_unstable();
    objects.into_iter().map(|(_, bytes)| bytes).collect()
}

/// All but those of the first two chunks, of which nothing was known, for the second is gathered while the first is staged; and
/// the last, which is what was left.
fn assert_near(sizes: &[usize], wanted: usize) {
    assert!(sizes.len() >= 6, "{sizes:?}");
    for size in &sizes[3..sizes.len() - 1] {
        assert!((wanted * 3 / 4..=wanted * 4 / 3).contains(size), "{size} of {sizes:?}");
    }
    assert!(sizes.iter().all(|size| *size <= wanted * 4 / 3), "{sizes:?}");
}

#[tokio::test]
async fn gzip_objects_have_the_size_that_was_asked_for() {
    let place = Place::new(
        "    buffering: { object_size: 1 MiB, interval: 900 s }\n    format: { lines: { compression: gzip } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    assert_near(&sizes(&place, (150_000, 2), "ok/").await, MIB);
}

#[tokio::test]
async fn parquet_objects_have_the_size_that_was_asked_for() {
    let place = Place::new(
        "    buffering: { object_size: 1 MiB, interval: 900 s }\n    format: { parquet: { columns: { n: bigint, kind: string, \
         path: string, user: string, bytes: bigint, id: string }, row_group: 1 MiB } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    assert_near(&sizes(&place, (160_000, 2), "ok/").await, MIB);
}

#[tokio::test]
async fn each_partition_has_objects_of_that_size() {
    let place = Place::new(
        "    buffering: { object_size: 1 MiB, interval: 900 s }\n    format: { lines: { compression: gzip } }\n    \
         partitioning: { jq: { kind: .kind } }\n    destination: { file: { directory: LAKE, \
         prefix: \"ok/!{partitionKeyFromQuery:kind}/\", error_output_prefix: \"errors/!{firehose:error-output-type}/\" } }",
    );
    assert_near(&sizes(&place, (18_000, 150), "ok/k0/").await, MIB);
    assert!(place.objects().keys().any(|key| key.starts_with("ok/k1/")));
}
