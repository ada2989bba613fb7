//! Going along the bytes of one segment that an earlier life left.
//!
//! Invariant: a frame counts only if its header, its body, its LSN and its chain all fit.

use std::io;

use hydrant_record::Lsn;

use crate::layout::{ALIGN, FRAME_HEADER_BYTES, Fault, Footer, FrameHeader, Index, Kind, Lost, SegmentHeader};
use crate::segment::{FRAMES_START, Window};
use crate::shards::ShardMap;

/// How far the frames of a segment hold together.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The first position that holds no valid frame; or the index, which is derived and proves nothing.
    pub(crate) offset: u64,
    pub(crate) next: Lsn,
    /// The CRC of the last header; `None` behind a frame that stands over damage.
    pub(crate) chain: Option<u32>,
    pub(crate) shards: Option<ShardMap>,
    pub(crate) index: Index,
    pub(crate) stop: Stop,
    /// Whether the bodies of records are read and checked too; those of the other frames always are.
    pub(crate) whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// At the end that was asked for, or at the index.
    End,
    Bad(&'static str),
    Newer(&'static str),
}

impl Stop {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Stop::End => "its end disagrees with the next segment",
            Stop::Bad(reason) | Stop::Newer(reason) => reason,
        }
    }
}

/// Walks from the segment header to `end`, or as far as it goes.
pub(crate) fn walk(window: &mut Window<'_>, header: &SegmentHeader, end: u64) -> io::Result<Walk> {
    let mut walk = Walk::new(header);
    walk_on(&mut walk, window, header, end)?;
    Ok(walk)
}

/// Goes on from where a walk is.
pub(crate) fn walk_on(walk: &mut Walk, window: &mut Window<'_>, header: &SegmentHeader, end: u64) -> io::Result<()> {
    walk.stop = Stop::End;
    while walk.offset < end {
        match walk.step(window, header)? {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(stop) => {
                walk.stop = stop;
                break;
            }
        }
    }
    Ok(())
}

impl Walk {
    /// Behind the header.
    pub(crate) fn new(header: &SegmentHeader) -> Walk {
        Walk {
            offset: FRAMES_START,
            next: header.base,
            chain: Some(header.chain()),
            shards: None,
            index: Index::new(header.base),
            stop: Stop::End,
            whole: true,
        }
    }

    /// Goes over a hole.
    pub(crate) fn resume(&mut self, offset: u64, next: Lsn) {
        (self.offset, self.next, self.chain) = (offset, next, None);
    }

    /// Takes in one frame; `None` at the index.
    pub(crate) fn step(
        &mut self,
        window: &mut Window<'_>,
        header: &SegmentHeader,
    ) -> io::Result<Result<Option<FrameHeader>, Stop>> {
        let Some(bytes) = window.at(self.offset, FRAME_HEADER_BYTES)? else {
            return Ok(Err(Stop::Bad("the file is cut short")));
        };
        let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let frame = match FrameHeader::decode(bytes, header.salt) {
            Ok(frame) => frame,
            Err(Fault::Damaged(reason)) => return Ok(Err(Stop::Bad(reason))),
            Err(Fault::Newer(what)) => return Ok(Err(Stop::Newer(what))),
        };
        if frame.base != self.next || self.chain.is_some_and(|chain| chain != frame.chain) {
            return Ok(Err(Stop::Bad("a frame does not follow the one before it")));
        }
        if frame.kind == Kind::Index {
            return Ok(Ok(None));
        }
        let inside = self.offset + frame.whole_bytes() <= window.end();
        if self.whole || frame.kind != Kind::Records {
            let body = window.at(self.offset + FRAME_HEADER_BYTES as u64, frame.body_bytes as usize)?;
            let Some(body) = body.filter(|body| inside && frame.body_matches(header.salt, body)) else {
                return Ok(Err(Stop::Bad("the checksum of a frame's body does not match")));
            };
            if let Err(reason) = self.take_in(&frame, body) {
                return Ok(Err(Stop::Bad(reason)));
            }
        } else if inside {
            self.next = frame.next();
        } else {
            return Ok(Err(Stop::Bad("the file is cut short")));
        }
        self.chain = Some(crc).filter(|_| !frame.mends);
        self.index.add(&frame, self.offset);
        self.offset += frame.whole_bytes();
        Ok(Ok(Some(frame)))
    }

    fn take_in(&mut self, frame: &FrameHeader, body: &[u8]) -> Result<(), &'static str> {
        self.next = match frame.kind {
            Kind::Lost => Lost::decode(frame, body)?.next,
            Kind::Records | Kind::Shards | Kind::Index => frame.next(),
        };
        if frame.kind == Kind::Shards {
            let shards = ShardMap::decode(body)?;
            if shards.open().any(|shard| shard.first > frame.base) {
                return Err("the map of shards is ahead of the records");
            }
            self.shards = Some(shards);
        }
        Ok(())
    }
}

/// What stands past the bad position.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// Bytes at the bad position had been synced.
    pub(crate) proof: bool,
    /// The first LSN after the hole that can be read, or that would come next.
    pub(crate) resumes: Option<Lsn>,
    /// Where that is, and whether it is a frame or the end.
    pub(crate) resumes_at: Option<u64>,
    pub(crate) is_frame: bool,
    /// The highest base of a frame that is a proof, whether its own body can be read or not.
    pub(crate) named: Option<Lsn>,
    /// After the last byte that this life of the file wrote, as far as that can be told.
    pub(crate) dirty_end: u64,
}

/// Looks for what had been written behind the place where a walk stopped.
pub(crate) fn look_behind(window: &mut Window<'_>, header: &SegmentHeader, walk: &Walk) -> io::Result<Behind> {
    let mut behind = Behind::default();
    let mut at = walk.offset;
    while at < window.end() {
        let bytes = usize::try_from(ALIGN.min(window.end() - at)).expect("at most 64");
        let Some(block) = window.at(at, bytes)? else { break };
        let dirty = block.iter().rposition(|byte| *byte != 0);
        if let Some(dirty) = dirty {
            // Behind a frame of this life there may be bytes of the one before.
            if !header.recycled {
                behind.dirty_end = at + dirty as u64 + 1;
            }
            if let Ok(frame) = FrameHeader::decode(block, header.salt) {
                behind.dirty_end = behind.dirty_end.max(at + frame.whole_bytes());
                behind.frame(at, &frame, walk, header.number);
                if behind.resumes.is_none() && frame.base >= walk.next && at > walk.offset {
                    let body = window.at(at + FRAME_HEADER_BYTES as u64, frame.body_bytes as usize)?;
                    if body.is_some_and(|body| frame.body_matches(header.salt, body)) {
                        (behind.resumes, behind.resumes_at) = (Some(frame.base), Some(at));
                        behind.is_frame = frame.kind != Kind::Index;
                    }
                }
            } else if let Some(footer) = Footer::decode(block, header.salt, header.number, at) {
                behind.proof |= footer.frames_end > walk.offset;
                if behind.resumes.is_none() && footer.frames_end > walk.offset {
                    (behind.resumes, behind.resumes_at) = (Some(footer.next), Some(at));
                }
            }
        }
        at += ALIGN;
    }
    Ok(behind)
}

impl Behind {
    fn frame(&mut self, at: u64, frame: &FrameHeader, walk: &Walk, number: u32) {
        let stamped_past = frame.durable_segment == number && u64::from(frame.durable_offset) > walk.offset;
        if at > walk.offset && stamped_past {
            self.proof = true;
            self.named = self.named.max(Some(frame.base));
        }
    }
}
