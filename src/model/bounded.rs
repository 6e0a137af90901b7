//! Lists that end: a length that a peer claims costs nothing, and more elements than there may be are an error as soon as
//! they are read.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

/// Reads at most `N` elements.
///
/// # Errors
/// There are more.
pub fn at_most<'de, const N: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Elements<const N: usize, T>(PhantomData<T>);
    impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for Elements<N, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            // What is claimed may be far more than there is.
            let mut elements: Vec<T> = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(N).min(64));
            while let Some(element) = seq.next_element()? {
                if elements.len() == N {
                    return Err(A::Error::custom(format!("a list of more than {N}")));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Elements::<N, T>(PhantomData))
}

/// A list of at most `N` elements when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AtMost<T, const N: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most::<N, T, D>(deserializer).map(Self)
    }
}

impl<T, const N: usize> From<Vec<T>> for AtMost<T, N> {
    fn from(list: Vec<T>) -> Self {
        Self(list)
    }
}

impl<T, const N: usize> Deref for AtMost<T, N> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T, const N: usize> IntoIterator for AtMost<T, N> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::into_iter(self.0)
    }
}

impl<T, const N: usize> FromIterator<T> for AtMost<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(list: I) -> Self {
        Self(Vec::from_iter(list))
    }
}
