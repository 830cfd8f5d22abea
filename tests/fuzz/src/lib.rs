//! What the fuzz targets have in common: bytes taken for lines of fields.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The lines of `data` as lines of one field.
pub fn lines(name: &HeaderName, data: &[u8]) -> HeaderMap {
    values(data).map(|value| (name.clone(), value)).collect()
}

/// The lines of `data` as field values, those that are none left out.
pub fn values(data: &[u8]) -> impl Iterator<Item = HeaderValue> {
    data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok())
}

/// The lines of `data` as fields of any name: `name: value`.
pub fn fields(data: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            fields.append(name, value);
        }
    }
    fields
}
