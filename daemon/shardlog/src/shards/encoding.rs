//! The bytes of a shard map: the body of a frame of kind 2. All numbers are little-endian.
//!
//! Invariant: what does not decode to a map that could have been encoded is refused; no bytes make this code panic, or
//! allocate more than they are long.
//!
//! ```text
//! header, 16 bytes                                    then `count` shards in ascending order, 80 bytes each
//!   0  4  count of shards, 1 to 65536                   0  4  shard
//!   4  4  number of the next new shard                  4  4  parent, ffffffff if none
//!   8  8  zero                                          8  4  adjacent parent, ffffffff if none
//!                                                      12  4  zero
//!                                                      16 16  first hash key
//!                                                      32 16  last hash key
//!                                                      48  8  created, milliseconds since 1970
//!                                                      56  8  LSN: no record of it stands before
//!                                                      64  8  closed, milliseconds since 1970; 0 if open
//!                                                      72  8  LSN: its records all stand before; 0 if open
//! ```

use hydrant_record::{HashKey, HashRange, Lsn, ShardIx, Timestamp};

use super::{Closed, Shard, ShardMap};

const HEADER_BYTES: usize = 16;
const SHARD_BYTES: usize = 80;
/// No shard has this number, because the next new one has a higher.
const NONE: u32 = u32::MAX;

impl ShardMap {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.shards.len()).expect("a map has at most SHARDS_MAX shards");
        let mut out = Vec::with_capacity(HEADER_BYTES + self.shards.len() * SHARD_BYTES);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.next_ix.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        for shard in &self.shards {
            out.extend_from_slice(&encode_shard(shard));
        }
        out
    }

    /// The reverse of [`ShardMap::encode`], or why these bytes are not the bytes of a map.
    pub(crate) fn decode(bytes: &[u8]) -> Result<ShardMap, &'static str> {
        let Some((header, shards)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err("the shard map ends inside its header");
        };
        let (count, next_ix) = (u32::from_le_bytes(field(header, 0)), u32::from_le_bytes(field(header, 4)));
        let (shards, rest) = shards.as_chunks::<SHARD_BYTES>();
        if count > ShardMap::SHARDS_MAX || shards.len() != count as usize || !rest.is_empty() {
            return Err("the length of the shard map does not match its count");
        }
        if header[8..] != [0; 8] {
            return Err("the shard map has bytes where there should be none");
        }
        let shards = shards.iter().map(decode_shard).collect::<Result<_, _>>()?;
        ShardMap::build(shards, next_ix)
    }
}

fn encode_shard(shard: &Shard) -> [u8; SHARD_BYTES] {
    let number = |ix: Option<ShardIx>| ix.map_or(NONE, |ix| ix.0).to_le_bytes();
    let mut out = [0; SHARD_BYTES];
    out[..4].copy_from_slice(&shard.ix.0.to_le_bytes());
    out[4..8].copy_from_slice(&number(shard.parent));
    out[8..12].copy_from_slice(&number(shard.adjacent_parent));
    out[16..32].copy_from_slice(&shard.range.start.0.to_le_bytes());
    out[32..48].copy_from_slice(&shard.range.end.0.to_le_bytes());
    out[48..56].copy_from_slice(&shard.created_at.as_millis().to_le_bytes());
    out[56..64].copy_from_slice(&shard.first.get().to_le_bytes());
    if let Some(closed) = shard.closed {
        out[64..72].copy_from_slice(&closed.at.as_millis().to_le_bytes());
        out[72..].copy_from_slice(&closed.before.get().to_le_bytes());
    }
    out
}

fn decode_shard(bytes: &[u8; SHARD_BYTES]) -> Result<Shard, &'static str> {
    let u32_at = |offset| u32::from_le_bytes(field(bytes, offset));
    let u64_at = |offset| u64::from_le_bytes(field(bytes, offset));
    let key_at = |offset| HashKey(u128::from_le_bytes(field(bytes, offset)));
    let parent_at = |offset| Some(u32_at(offset)).filter(|ix| *ix != NONE).map(ShardIx);
    let closed = Lsn::new(u64_at(72)).map(|before| Closed { at: Timestamp::from_millis(u64_at(64)), before });
    if u32_at(12) != 0 || (closed.is_none() && u64_at(64) != 0) {
        return Err("a shard has bytes where there should be none");
    }
    Ok(Shard {
        ix: ShardIx(u32_at(0)),
        parent: parent_at(4),
        adjacent_parent: parent_at(8),
        range: HashRange { start: key_at(16), end: key_at(32) },
        created_at: Timestamp::from_millis(u64_at(48)),
        first: Lsn::new(u64_at(56)).ok_or("a shard has no first LSN")?,
        closed,
    })
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[offset..offset + N]);
    field
}
