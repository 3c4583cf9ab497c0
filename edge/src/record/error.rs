//! Why a count was not recorded, in words for the person at the station.

/// Why a count was not recorded. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// SQLite refused.
    #[error("the database could not be used: {0}; nothing was written, try again")]
    Sqlite(#[from] rusqlite::Error),
    /// A field that cannot be.
    #[error("check the field {field}: {why}")]
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The file was made by another program.
    #[error("this file has no table {0} as TabletTracker makes it, so that counts cannot be recorded here")]
    NoTable(&'static str),
    /// Nothing of that name is known here.
    #[error("{name} is not known on this device: choose it from the list, or sync first")]
    Unknown {
        /// Which field names it.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// It looks wrong, and the person must say that it is meant so.
    #[error("{0}; send it again as confirmed if that is right")]
    Question(Question),
    /// The entry to correct is not one of today's here.
    #[error("entry {0} is not one of today's entries of this station; correct it in the program")]
    NotToday(String),
    /// Somebody else has removed its rows.
    #[error("a row of entry {0} was removed elsewhere; look at it in the program")]
    Gone(String),
    /// What was kept of an entry cannot be read.
    #[error("what this station kept of entry {0} cannot be read: {1}; correct it in the program")]
    Damaged(String, serde_json::Error),
    /// A number below zero.
    #[error("a count cannot be negative: correct an entry in the program that made it")]
    Negative,
    /// No such purchase order.
    #[error("there is no purchase order {0} on this device; check the number, or sync first")]
    NoOrder(String),
    /// No such line.
    #[error("that purchase order has no line for item {0}; check the item")]
    NoLine(String),
    /// It would be worked out to more than fits.
    #[error("the tablets of this count are more than any count can be: check the numbers and the product")]
    TooMuch,
}

/// What looks wrong about a count, although it can be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Question {
    /// No open delivery has such a bag.
    #[error("no open delivery has this bag with this product")]
    BagUnknown,
    /// The bag is set aside for bottles.
    #[error("this bag is reserved for bottles")]
    BagReserved,
    /// The same receipt was counted already.
    #[error("this receipt was counted already")]
    ReceiptUsed,
    /// The receipt belongs to another product.
    #[error("this receipt was used for another product")]
    ReceiptOther,
    /// Nothing says which bag it was.
    #[error("no machine count with this receipt is here, and no bag was given")]
    ReceiptUnknown,
}

impl RecordError {
    /// A short name for programs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "busy",
            Self::Invalid { .. } => "invalid",
            Self::NoTable(_) => "no-table",
            Self::Unknown { .. } => "unknown",
            Self::Question(question) => question.code(),
            Self::NotToday(_) => "not-today",
            Self::Gone(_) => "gone",
            Self::Damaged(..) => "damaged",
            Self::Negative => "negative",
            Self::NoOrder(_) => "no-order",
            Self::NoLine(_) => "no-line",
            Self::TooMuch => "too-much",
        }
    }

    /// The field that it is about.
    pub(crate) const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { field, .. } | Self::Unknown { field, .. } => Some(*field),
            Self::Question(Question::BagUnknown | Question::BagReserved) => Some("bag"),
            Self::Question(_) => Some("receipt"),
            _ => None,
        }
    }
}

impl Question {
    const fn code(self) -> &'static str {
        match self {
            Self::BagUnknown => "bag-unknown",
            Self::BagReserved => "bag-reserved",
            Self::ReceiptUsed => "receipt-used",
            Self::ReceiptOther => "receipt-other",
            Self::ReceiptUnknown => "receipt-unknown",
        }
    }
}
