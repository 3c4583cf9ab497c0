//! Cells of a CSV line, or keys of a JSON line, become the named fields of a count or a row. Constants and
//! look-ups have their say here; what a field must be is decided by whoever writes it.

use super::config::{Format, Mapping, Source};
use super::lines::Line;
use super::lookup;
use super::unfit::{Strange, Unfit};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use rusqlite::Connection;
use serde_json::{Map, Value};

/// Values by the name of the field.
pub(super) type Fields = Map<String, Value>;

/// Reads the lines of one file.
pub(super) struct Shape<'m> {
    mapping: &'m Mapping,
    format: Format,
    reader: Reader,
    /// Fields and the cell of each; set by the header, or by numbers.
    places: Vec<(String, usize)>,
    width: Option<usize>,
}

impl<'m> Shape<'m> {
    pub(super) fn new(mapping: &'m Mapping, format: Format) -> Self {
        let reader =
            ReaderBuilder::new().delimiter(mapping.delimiter).terminator(Terminator::Any(b'\n')).build();
        let numbers = mapping.columns.iter().filter_map(|(field, source)| match source {
            Source::Number(number) => Some((field.clone(), number.saturating_sub(1))),
            Source::Name(_) => None,
        });
        Self { mapping, format, reader, places: numbers.collect(), width: None }
    }

    /// True when the first line names the columns.
    pub(super) fn wants_header(&self) -> bool {
        self.format == Format::Csv && self.mapping.header
    }

    /// Finds each field's column.
    pub(super) fn header(&mut self, line: Line<'_>) -> Result<(), Strange> {
        let names = text(line).and_then(|text| self.cells(text)).map_err(Strange::Header)?;
        for (at, name) in names.iter().enumerate() {
            if !name.is_empty() && names[..at].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(Strange::Twice(name.clone()));
            }
        }
        self.width = Some(names.len());
        if self.mapping.columns.is_empty() {
            let named = names.into_iter().enumerate().filter(|(_, name)| !name.is_empty());
            self.places = named.map(|(at, name)| (self.mapping.field(&name), at)).collect();
            return Ok(());
        }
        for (field, source) in &self.mapping.columns {
            let Source::Name(column) = source else { continue };
            let place = names.iter().position(|name| name.eq_ignore_ascii_case(column.trim()));
            let missing = || Strange::NoColumn {
                column: column.clone(),
                field: field.clone(),
                found: names.join(", "),
            };
            self.places.push((field.clone(), place.ok_or_else(missing)?));
        }
        Ok(())
    }

    /// Names of the fields that lines of this file can have, as far as they are known before the first line.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        let columns = self.mapping.columns.keys().chain(self.mapping.constants.keys());
        columns.chain(self.places.iter().map(|(field, _)| field)).map(String::as_str)
    }

    /// The fields of a line. An empty cell is a field that was not given.
    pub(super) fn fields(&mut self, line: Line<'_>, conn: &Connection) -> Result<Fields, Unfit> {
        let text = text(line)?;
        let given = match self.format {
            Format::Csv => self.given_in_cells(text)?,
            Format::Json => self.given_in_object(text)?,
        };
        let mut fields = Fields::new();
        for (name, value) in given {
            let value = match self.mapping.lookup.get(&name) {
                Some(lookup) if !value.is_null() => lookup::find(conn, lookup, &value)?,
                _ => value,
            };
            fields.insert(name, value);
        }
        for (name, value) in &self.mapping.constants {
            fields.insert(name.clone(), value.clone());
        }
        Ok(fields)
    }

    fn given_in_cells(&mut self, text: &str) -> Result<Vec<(String, Value)>, Unfit> {
        let cells = self.cells(text)?;
        let last = self.places.iter().map(|(_, place)| place + 1).max().unwrap_or(0);
        let expected = self.width.unwrap_or_else(|| last.max(cells.len()));
        if cells.len() != expected {
            return Err(Unfit::Cells { found: cells.len(), expected });
        }
        let given = self.places.iter().filter_map(|(field, place)| {
            let cell = cells.get(*place).filter(|cell| !cell.is_empty())?;
            Some((field.clone(), Value::String(cell.clone())))
        });
        Ok(given.collect())
    }

    fn given_in_object(&self, text: &str) -> Result<Vec<(String, Value)>, Unfit> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| Unfit::Json(error.to_string()))?;
        if let Some((name, _)) = object.iter().find(|(_, value)| value.is_array() || value.is_object()) {
            return Err(Unfit::Nested(name.clone()));
        }
        if self.mapping.columns.is_empty() {
            return Ok(object.into_iter().map(|(name, value)| (self.mapping.field(&name), value)).collect());
        }
        let given = self.mapping.columns.iter().filter_map(|(field, source)| match source {
            Source::Name(name) => Some((field.clone(), object.get(name)?.clone())),
            Source::Number(_) => None,
        });
        Ok(given.collect())
    }

    /// The cells of one line, without the blanks around them.
    fn cells(&mut self, text: &str) -> Result<Vec<String>, Unfit> {
        self.reader.reset();
        let line = [text.as_bytes(), b"\n"].concat();
        // No cell needs more than the line has, and every cell but one has a delimiter.
        let (mut out, mut ends) = (vec![0; line.len() + 1], vec![0; line.len() + 1]);
        let (result, _, _, count) = self.reader.read_record(&line, &mut out, &mut ends);
        if result != ReadRecordResult::Record {
            return Err(Unfit::Quote);
        }
        let mut start = 0;
        let mut cells = Vec::with_capacity(count);
        for end in ends.into_iter().take(count) {
            let cell = out.get(start..end).and_then(|cell| std::str::from_utf8(cell).ok());
            cells.push(cell.ok_or(Unfit::Encoding)?.trim().to_owned());
            start = end;
        }
        Ok(cells)
    }
}

fn text(line: Line<'_>) -> Result<&str, Unfit> {
    let bytes = line.bytes.ok_or(Unfit::TooLong)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Unfit::Encoding)?;
    if text.contains('\0') { Err(Unfit::Encoding) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
