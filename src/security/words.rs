//! A password of words that anybody can spell, to be told aloud.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::IdentityError;
use crate::model::Password;

/// The words of BIP 39, which no two share their first four letters.
pub(super) const WORDS: &str = include_str!("words.txt");

/// Words of a password. Of [`choice`] that is 42 bits.
const COUNT: usize = 4;

/// Words that are neither too short to be heard nor too long to be typed.
fn choice() -> Vec<&'static str> {
    WORDS.lines().filter(|word| (4..=6).contains(&word.len())).collect()
}

/// Draws a password of four words.
pub fn password() -> Result<Password, IdentityError> {
    let (words, random) = (choice(), SystemRandom::new());
    // So much that the letters are never moved, which would leave a copy behind.
    let mut drawn = String::with_capacity(COUNT * 7);
    while drawn.split_whitespace().count() < COUNT {
        let mut bytes = [0; 2];
        random.fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
        // What lies beyond the last word is drawn again, so that all are alike.
        let Some(word) = words.get(usize::from(u16::from_be_bytes(bytes) & 0x07FF)) else { continue };
        if !drawn.is_empty() {
            drawn.push(' ');
        }
        drawn.push_str(word);
    }
    Ok(Password::new(drawn))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn four_words_fit_the_form_and_are_others_each_time() {
        let words = choice();
        assert!((1_400..=2_048).contains(&words.len()), "{}: 42 bits", words.len());
        let drawn: Vec<String> = (0..500).map(|_| password().unwrap().reveal().to_owned()).collect();
        for password in &drawn {
            assert_eq!(password.split(' ').count(), COUNT);
            assert!(password.len() <= 27, "{password}");
        }
        let different: HashSet<&String> = drawn.iter().collect();
        assert_eq!(different.len(), drawn.len());
        let used: HashSet<&str> = drawn.iter().flat_map(|password| password.split(' ')).collect();
        assert!(used.len() > 900, "from the whole list: {}", used.len());
    }
}
