//! The segment files of a log: which there are, their headers, and one record in one of them.

use crate::{
    error::{Damage, Error, Fault},
    format::{BLOCK, SegmentHeader, parse_segment_name, segment_name},
    record::RawRecord,
    storage::Storage,
    walk::Place,
    window::{Contents, FrameAt, Window},
};

/// The first records of all segments, in order.
pub(crate) fn segments(storage: &Storage) -> Result<Vec<u64>, Error> {
    let names = storage
        .list("segments")
        .map_err(Error::storage("listing the segments"))?;
    Ok(names
        .iter()
        .filter_map(|name| parse_segment_name(name))
        .collect())
}

/// Reads the one record at a place that a view has named.
pub(crate) fn read_at(storage: &Storage, place: Place, index: u64) -> Result<RawRecord, Error> {
    let (mut window, segment) = open_segment(storage, place.segment)?;
    let frame = FrameAt::read(&mut window, place.frame, &segment.id, Contents::Load)
        .map_err(reading(place.segment))?;
    let fault = match frame {
        FrameAt::Record(frame) => {
            return Ok(RawRecord {
                index,
                kept: frame.kept,
                content: frame.content,
                content_length: frame.content_length,
                is_erased: frame.is_gone,
            });
        }
        FrameAt::End => Fault::Frame("nothing stands there"),
        FrameAt::Bad(fault) => fault,
    };
    Err(Error::Damaged(Damage {
        segment: place.segment,
        offset: place.frame,
        index,
        fault,
    }))
}

/// Opens a segment and verifies its header.
pub(crate) fn open_segment(
    storage: &Storage,
    first: u64,
) -> Result<(Window, SegmentHeader), Error> {
    let mut window = storage
        .open(&segment_name(first))
        .and_then(Window::new)
        .map_err(reading(first))?;
    let damaged = |fault| {
        Error::Damaged(Damage {
            segment: first,
            offset: 0,
            index: first,
            fault,
        })
    };
    let block = window.slice(0, BLOCK as usize).map_err(reading(first))?;
    let header = SegmentHeader::decode(block).map_err(damaged)?;
    if header.first != first {
        return Err(damaged(Fault::SegmentHeader("it is of another segment")));
    }
    if header.length != window.length() {
        return Err(damaged(Fault::SegmentLength {
            expected: header.length,
            found: window.length(),
        }));
    }
    Ok((window, header))
}

/// Says which segment could not be read.
pub(crate) fn reading(segment: u64) -> impl FnOnce(std::io::Error) -> Error {
    Error::storage(format!("reading segment {segment:020}"))
}
