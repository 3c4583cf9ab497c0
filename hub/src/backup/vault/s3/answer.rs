//! What a store answers in XML, as far as a vault asks.

use roxmltree::{Document, Node};
use std::io;

/// One page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) found: Vec<T>,
    /// What to ask with for the next page; None when this was the last.
    pub(super) next: Option<Vec<(&'static str, String)>>,
}

/// Reads one page of keys.
pub(super) fn keys(text: &str) -> io::Result<Page<String>> {
    let document = parse(text)?;
    let root = document.root_element();
    let found = all(root, "Contents").filter_map(|entry| value(entry, "Key")).collect();
    let next = more(root, &[("continuation-token", "NextContinuationToken")])?;
    Ok(Page { found, next })
}

/// Reads one page of uploads that were begun and not completed: key and id.
pub(super) fn uploads(text: &str) -> io::Result<Page<(String, String)>> {
    let document = parse(text)?;
    let root = document.root_element();
    let entry = |entry| Some((value(entry, "Key")?, value(entry, "UploadId")?));
    let found = all(root, "Upload").filter_map(entry).collect();
    let next = more(root, &[("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker")])?;
    Ok(Page { found, next })
}

/// Reads the id of an upload that was begun.
pub(super) fn upload_id(text: &str) -> io::Result<String> {
    value(parse(text)?.root_element(), "UploadId").ok_or_else(|| unreadable("has no id of the upload"))
}

/// The code of an error; None when the text is none.
pub(super) fn error_code(text: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    (root.tag_name().name() == "Error").then(|| value(root, "Code").unwrap_or_default())
}

fn parse(text: &str) -> io::Result<Document<'_>> {
    Document::parse(text).map_err(|error| unreadable(&format!("cannot be read: {error}")))
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the store's answer {what}; is the endpoint one of S3?"),
    )
}

fn all<'n>(node: Node<'n, 'n>, name: &'static str) -> impl Iterator<Item = Node<'n, 'n>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn value(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    let child = node.children().find(|child| child.tag_name().name() == name)?;
    child.text().map(str::to_owned)
}

fn more(
    root: Node<'_, '_>,
    names: &[(&'static str, &'static str)],
) -> io::Result<Option<Vec<(&'static str, String)>>> {
    if value(root, "IsTruncated").as_deref() != Some("true") {
        return Ok(None);
    }
    let next: Vec<_> = names.iter().filter_map(|(ask, name)| Some((*ask, value(root, name)?))).collect();
    // Asking again for the same page would never end.
    if next.is_empty() { Err(unreadable("says that there is more and not where")) } else { Ok(Some(next)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_and_what_is_no_page_is_an_error() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated>\
            <Contents><Key>a&amp;b</Key></Contents><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let page = keys(text).unwrap();
        assert_eq!(page.found, ["a&b"]);
        assert_eq!(page.next, Some(vec![("continuation-token", "t".to_owned())]));
        assert!(keys("<L><IsTruncated>true</IsTruncated></L>").is_err(), "else it would be asked for ever");
        assert!(keys("<html>").is_err());
        let text =
            "<R><IsTruncated>false</IsTruncated><Upload><Key>k</Key><UploadId>u</UploadId></Upload></R>";
        assert_eq!(uploads(text).unwrap(), Page { found: vec![("k".into(), "u".into())], next: None });
        assert_eq!(error_code("<Error><Code>NoSuchKey</Code></Error>").as_deref(), Some("NoSuchKey"));
        assert_eq!(error_code("<Other/>"), None);
    }
}
