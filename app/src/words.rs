//! Numbers with the words they count.

/// `1 token`, `2 tokens`.
pub fn tokens(n: usize) -> String {
    if n == 1 { "1 token".into() } else { format!("{n} tokens") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_token_and_none_are_tokens() {
        assert_eq!([0, 1, 2].map(tokens), ["0 tokens", "1 token", "2 tokens"]);
    }
}
