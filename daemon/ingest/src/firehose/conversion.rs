//! `DataFormatConversionConfiguration`: its shape, and the Parquet format it asks for.

use hydrant_config::{Parquet, ParquetCompression};
use serde_json::Value;

use super::{Mappings, s3, unsupported};
use crate::ApiError;
use crate::shape::{Shape, Violations};

/// As in YAML, unless `BlockSizeBytes` says otherwise.
const ROW_GROUP_DEFAULT: u64 = 128 << 20;

/// The conversion of a request that is enabled.
#[derive(Debug)]
pub(super) struct Conversion<'a> {
    schema: Option<Shape<'a>>,
    deserializer: Option<Shape<'a>>,
    serializer: Option<Shape<'a>>,
    parquet: Option<ParquetSerDe<'a>>,
}

#[derive(Debug)]
struct ParquetSerDe<'a> {
    shape: Shape<'a>,
    compression: &'a str,
    block_bytes: Option<i64>,
}

impl<'a> Conversion<'a> {
    /// `None` if it is absent or not enabled.
    pub(super) fn of(destination: &Shape<'a>, to: &mut Violations) -> Result<Option<Conversion<'a>>, ApiError> {
        let Some(shape) = destination.part("DataFormatConversionConfiguration")? else { return Ok(None) };
        let enabled = shape.flag("Enabled")?.unwrap_or(true);
        let schema = shape.part("SchemaConfiguration")?;
        if let Some(schema) = &schema {
            for (member, most) in [("RoleARN", 512), ("CatalogId", 1024), ("DatabaseName", 1024), ("TableName", 1024)] {
                s3::text(schema, member, 1..=most, to)?;
            }
            s3::text(schema, "Region", 1..=1024, to)?;
            s3::text(schema, "VersionId", 1..=1024, to)?;
        }
        let input = shape.part("InputFormatConfiguration")?;
        let deserializer = input.map(|input| input.part("Deserializer")).transpose()?.flatten();
        let output = shape.part("OutputFormatConfiguration")?;
        let serializer = output.map(|output| output.part("Serializer")).transpose()?.flatten();
        let parquet = serializer.as_ref().map(|serializer| serializer.part("ParquetSerDe")).transpose()?.flatten();
        let parquet = parquet.map(|shape| ParquetSerDe::of(shape, to)).transpose()?;
        Ok(enabled.then_some(Conversion { schema, deserializer, serializer, parquet }))
    }

    /// What the conversion means here, checked in the order that AWS checks.
    pub(super) fn parquet(&self, mappings: &Mappings) -> Result<Parquet, ApiError> {
        let (Some(schema), Some(deserializer), Some(serializer)) = (&self.schema, &self.deserializer, &self.serializer)
        else {
            return Err(ApiError::invalid_argument(
                "SchemaConfiguration, InputFormatConfiguration and OutputFormatConfiguration must be given when data format \
                 conversion is enabled.",
            ));
        };
        check_deserializer(deserializer)?;
        if serializer.has("OrcSerDe") {
            return Err(if self.parquet.is_some() {
                ApiError::invalid_argument("Exactly one serializer is allowed: ParquetSerDe or OrcSerDe.")
            } else {
                unsupported("OrcSerDe")
            });
        }
        let serde = self.parquet.as_ref();
        let serde = serde.ok_or_else(|| ApiError::invalid_argument("A serializer is required: ParquetSerDe."))?;
        serde.check()?;
        let required = |member: &str| {
            let text = || format!("SchemaConfiguration.{member} must not be null or empty.");
            schema.text(member)?.ok_or_else(|| ApiError::invalid_argument(text()))
        };
        required("RoleARN")?;
        let table = format!("{}.{}", required("DatabaseName")?, required("TableName")?);
        if schema.text("VersionId")?.is_some_and(|version| version != "LATEST") {
            return Err(unsupported("A SchemaConfiguration.VersionId other than LATEST"));
        }
        let schema = mappings.glue.get(&table).cloned().ok_or_else(|| {
            ApiError::invalid_argument(format!(
                "Glue table {table} is not known here; add `glue: {{ \"{table}\": {{ columns: {{ … }} }} }}` to the \
                 configuration"
            ))
        })?;
        let row_group = serde.block_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(ROW_GROUP_DEFAULT);
        Ok(Parquet { schema, compression: serde.compression(), row_group })
    }
}

fn check_deserializer(deserializer: &Shape<'_>) -> Result<(), ApiError> {
    if deserializer.has("HiveJsonSerDe") {
        return Err(ApiError::invalid_argument(
            "HiveJsonSerDe is not supported by this version of Hydrant; use OpenXJsonSerDe",
        ));
    }
    let Some(openx) = deserializer.part("OpenXJsonSerDe")? else {
        return Err(ApiError::invalid_argument("A deserializer is required: OpenXJsonSerDe."));
    };
    if openx.flag("CaseInsensitive")? == Some(false) {
        return Err(unsupported("OpenXJsonSerDe.CaseInsensitive false"));
    }
    if openx.flag("ConvertDotsInJsonKeysToUnderscores")? == Some(true) {
        return Err(unsupported("OpenXJsonSerDe.ConvertDotsInJsonKeysToUnderscores true"));
    }
    if openx.get("ColumnToJsonKeyMappings").is_some_and(|map| *map != Value::Object(serde_json::Map::new())) {
        return Err(unsupported("OpenXJsonSerDe.ColumnToJsonKeyMappings"));
    }
    Ok(())
}

impl<'a> ParquetSerDe<'a> {
    fn of(shape: Shape<'a>, to: &mut Violations) -> Result<ParquetSerDe<'a>, ApiError> {
        let block_bytes = s3::integer(&shape, "BlockSizeBytes", (64 << 20)..=i64::MAX, to)?;
        s3::integer(&shape, "PageSizeBytes", (64 << 10)..=i64::MAX, to)?;
        s3::integer(&shape, "MaxPaddingBytes", 0..=i64::MAX, to)?;
        s3::choice(&shape, "WriterVersion", &["V1", "V2"], to)?;
        shape.flag("EnableDictionaryCompression")?;
        let compression = s3::choice(&shape, "Compression", &["UNCOMPRESSED", "GZIP", "SNAPPY"], to)?;
        Ok(ParquetSerDe { compression: compression.unwrap_or("SNAPPY"), block_bytes, shape })
    }

    /// What changes the file in a way that is not built must not be taken in silence.
    fn check(&self) -> Result<(), ApiError> {
        let shape = &self.shape;
        if shape.text("WriterVersion")?.is_some_and(|version| version != "V1") {
            return Err(unsupported("ParquetSerDe.WriterVersion V2"));
        }
        if shape.integer("PageSizeBytes")?.is_some_and(|bytes| bytes != 1 << 20) {
            return Err(unsupported("A ParquetSerDe.PageSizeBytes other than 1048576"));
        }
        if shape.integer("MaxPaddingBytes")?.is_some_and(|bytes| bytes != 0) {
            return Err(unsupported("A ParquetSerDe.MaxPaddingBytes other than 0"));
        }
        if shape.flag("EnableDictionaryCompression")? == Some(true) {
            return Err(unsupported("ParquetSerDe.EnableDictionaryCompression true"));
        }
        Ok(())
    }

    fn compression(&self) -> ParquetCompression {
        match self.compression {
            "GZIP" => ParquetCompression::Gzip,
            "UNCOMPRESSED" => ParquetCompression::None,
            _ => ParquetCompression::Snappy,
        }
    }
}
