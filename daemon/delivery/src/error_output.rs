//! Error lines to objects: of a chunk when it is staged, and of what a destination refused later.

use std::sync::Arc;

use hydrant_config::{DeliveryStreamSpec, Format, LineCompression, Partition};
use hydrant_formats::{Encoder, encoder};

use crate::build::{Address, Build};
use crate::group::{ErrorType, Group};
use crate::manifest::Route;
use crate::spool::Spool;
use crate::stage::StageError;

pub(crate) struct ErrorOutput {
    stream: Arc<DeliveryStreamSpec>,
    to: Route,
    partition: Partition,
    encoder: Box<dyn Encoder>,
}

impl ErrorOutput {
    pub(crate) fn new(stream: Arc<DeliveryStreamSpec>) -> ErrorOutput {
        let to = if stream.destination.objects().is_some() { Route::Destination } else { Route::Backup };
        let partition = stream.error_store().naming.error_output_prefix.partition(&|_, _| None);
        let partition = partition.expect("an error output prefix has no partition keys");
        // Error lines bring their own newlines.
        let encoder = encoder(&Format::Lines { compression: line_compression(&stream) }, false);
        ErrorOutput { stream, to, partition, encoder }
    }

    /// Encodes all error lines of the spool, which was flushed. How many they are.
    pub(crate) fn push(&mut self, build: &mut Build, spool: &Spool) -> Result<u64, StageError> {
        let mut records = 0;
        for kind in ErrorType::ALL {
            let address = Address {
                stream: &self.stream,
                to: self.to,
                naming: &self.stream.error_store().naming,
                partition: &self.partition,
                error_output_type: Some(kind.output_type()),
            };
            records += build.push_all(address, &mut *self.encoder, &mut spool.read(&Group::Errors(kind)))?;
        }
        Ok(records)
    }
}

/// Of lines beside the output: as the output's own lines, if it has lines.
pub(crate) fn line_compression(stream: &DeliveryStreamSpec) -> LineCompression {
    match stream.format {
        Format::Lines { compression } => compression,
        Format::Parquet(_) => LineCompression::None,
    }
}
