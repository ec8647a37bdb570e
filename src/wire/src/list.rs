//! Lists and texts that are there, or are made while they are written.
//!
//! A reader owns what it read. A writer that may not allocate has its values in other types, and
//! lends something that makes one item after the other.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// What makes the items of a [`List`].
pub trait Items<'a, T> {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them.
    ///
    /// # Panics
    ///
    /// May panic if `index` is not below [`count`](Self::count).
    fn item(&'a self, index: usize) -> T;
}

/// A list of a message.
pub enum List<'a, T> {
    /// It is there, as after reading.
    Owned(Vec<T>),
    /// Each item is made when it is asked for.
    Made(&'a dyn Items<'a, T>),
}

impl<T> List<'_, T> {
    /// A list without items.
    #[must_use]
    pub const fn new() -> Self {
        Self::Owned(Vec::new())
    }

    /// How many items it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Owned(items) => items.len(),
            Self::Made(items) => items.count(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at the first so many items in turn, until `look` has found what it is after.
    pub fn find<R>(&self, most: usize, mut look: impl FnMut(usize, &T) -> Option<R>) -> Option<R> {
        let first = 0..self.len().min(most);
        match self {
            Self::Owned(items) => items.iter().zip(first).find_map(|(item, i)| look(i, item)),
            Self::Made(items) => first.into_iter().find_map(|i| look(i, &items.item(i))),
        }
    }

    /// Looks at the first so many items, and where each stands.
    pub fn each(&self, most: usize, mut look: impl FnMut(usize, &T)) {
        self.find(most, |i, item| {
            look(i, item);
            None::<()>
        });
    }
}

impl<T> From<Vec<T>> for List<'_, T> {
    fn from(items: Vec<T>) -> Self {
        Self::Owned(items)
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Owned(items) => Self::Owned(items.clone()),
            Self::Made(items) => Self::Made(*items),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        self.each(usize::MAX, |_, item| {
            list.entry(item);
        });
        list.finish()
    }
}

/// By the items, whether they are there or made.
impl<T: PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        let differs = |i: usize, own: &T| {
            let same = match other {
                Self::Owned(items) => items.get(i) == Some(own),
                Self::Made(items) => items.item(i) == *own,
            };
            (!same).then_some(())
        };
        self.len() == other.len() && self.find(usize::MAX, differs).is_none()
    }
}

impl<T: Serialize> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Owned(items) => serializer.collect_seq(items),
            Self::Made(items) => serializer.collect_seq((0..items.count()).map(|i| items.item(i))),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<'_, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Grows with what comes: how many are promised is nothing to rely on.
        struct Collect<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
        }
        let items = deserializer.deserialize_seq(Collect(PhantomData));
        items.map(Self::Owned)
    }
}

/// A text of a message that may be long, such as the pixels of a mask.
#[derive(Clone)]
pub enum Text<'a> {
    /// As it stands in what was read, or in the writer's memory.
    Borrowed(&'a str),
    /// Read, and not as it stood there.
    Owned(String),
    /// Made while it is written.
    Made(&'a dyn fmt::Display),
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Borrowed("")
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Borrowed(text) => f.write_str(text),
            Self::Owned(text) => f.write_str(text),
            Self::Made(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        use alloc::string::ToString;
        self.to_string() == other.to_string()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Borrowed(text) => serializer.serialize_str(text),
            Self::Owned(text) => serializer.serialize_str(text),
            Self::Made(text) => serializer.collect_str(text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keep<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Keep<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'a>, E> {
                Ok(Text::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Keep(PhantomData))
    }
}
