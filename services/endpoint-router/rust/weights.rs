//! Weights of shares: integers that add up.

/// Return integers in proportion to the shares that add up to `total`, by the largest remainders.
///
/// A share above 0 gets at least 1, so the sum is greater if there are more shares than `total`.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "parts of a total below 2^52")]
pub fn apportion(shares: &[f64], total: u64) -> Vec<u64> {
    let whole: f64 = shares.iter().sum();
    if whole <= 0.0 {
        return vec![0; shares.len()];
    }
    let exact: Vec<f64> = shares.iter().map(|share| share / whole * total as f64).collect();
    let mut parts: Vec<u64> = exact.iter().map(|amount| (*amount as u64).max(u64::from(*amount > 0.0))).collect();
    let sum: u64 = parts.iter().sum();
    let over = |number: usize, parts: &[u64]| parts[number] as f64 - exact[number];
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| over(*a, &parts).total_cmp(&over(*b, &parts)));
    for number in order.into_iter().take(usize::try_from(total.saturating_sub(sum)).unwrap_or(0)) {
        parts[number] += 1;
    }
    if let Some(greatest) = (0..parts.len()).rev().max_by_key(|number| parts[*number]) {
        parts[greatest] = parts[greatest].saturating_sub(sum.saturating_sub(total)).max(1);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::apportion;

    #[test]
    fn integers_in_proportion_add_up_and_none_of_a_share_is_0() {
        assert_eq!(apportion(&[1.0, 1.0, 1.0], 100), [34, 33, 33]);
        assert_eq!(apportion(&[0.999_999, 0.000_001, 0.0], 100), [99, 1, 0]);
        assert_eq!(apportion(&[1.0, 1.0, 1.0], 2), [1, 1, 1]);
        assert_eq!(apportion(&[0.0, 0.0], 100), [0, 0]);
    }
}
