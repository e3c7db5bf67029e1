//! One topological order for all that waits for other things.

use std::collections::BTreeSet;

/// Things in an order in which each comes after what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ordered {
    /// The positions of all things. Of those that could come next, the first comes; in a circle it is the first of
    /// all, as if it needed nothing.
    pub order: Vec<usize>,
    /// The positions that were left when the first circle was met: they form circles, or need what does. Empty
    /// where there is none.
    pub stuck: Vec<usize>,
}

/// Orders things, each of which needs those at the given positions. A thing that needs itself is a circle;
/// positions past the end count for nothing. Takes n log n steps for n things and needs.
#[must_use]
pub fn ordered(needs: &[Vec<usize>]) -> Ordered {
    // Of each thing: how many it still waits for, and the things that wait for it.
    let mut left: Vec<usize> = Vec::with_capacity(needs.len());
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, own) in needs.iter().enumerate() {
        let mut count = 0;
        for need in own {
            if let Some(list) = dependents.get_mut(*need) {
                list.push(at);
                count += 1;
            }
        }
        left.push(count);
    }
    let mut waiting: BTreeSet<usize> = (0..needs.len()).collect();
    let mut ready: BTreeSet<usize> = waiting.iter().copied().filter(|at| left.get(*at) == Some(&0)).collect();
    let mut ordered = Ordered::default();
    while let Some(first) = waiting.first().copied() {
        if ready.is_empty() && ordered.stuck.is_empty() {
            ordered.stuck = waiting.iter().copied().collect();
        }
        let next = ready.pop_first().unwrap_or(first);
        waiting.remove(&next);
        ordered.order.push(next);
        for dependent in dependents.get(next).into_iter().flatten() {
            let Some(count) = left.get_mut(*dependent) else { continue };
            *count -= 1;
            if *count == 0 && waiting.contains(dependent) {
                ready.insert(*dependent);
            }
        }
    }
    ordered
}

/// A circle among `stuck` (see [`Ordered`]), its first position repeated at the end.
#[must_use]
pub fn circle(needs: &[Vec<usize>], stuck: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = stuck.first().copied().into_iter().collect();
    // Each of them needs another one: followed, one comes again.
    while let Some(last) = path.last()
        && let Some(next) = needs.get(*last).and_then(|needs| needs.iter().find(|need| stuck.contains(need)))
    {
        if let Some(begin) = path.iter().position(|seen| seen == next) {
            let mut circle = path.split_off(begin);
            circle.push(*next);
            return circle;
        }
        path.push(*next);
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_after_what_it_needs_and_else_as_it_stands() {
        let needs = [vec![3, 2], vec![2], vec![], vec![2, 9], vec![]];
        assert_eq!(ordered(&needs), Ordered { order: vec![2, 1, 3, 0, 4], stuck: vec![] });
        assert_eq!(ordered(&[]), Ordered::default());
    }

    #[test]
    fn circles_are_cut_at_their_first_and_named() {
        let needs = [vec![1], vec![2], vec![1], vec![]];
        assert_eq!(ordered(&needs), Ordered { order: vec![3, 0, 1, 2], stuck: vec![0, 1, 2] });
        assert_eq!(circle(&needs, &[0, 1, 2]), [1, 2, 1]);
        assert_eq!(circle(&[vec![0]], &[0]), [0, 0]);
        assert_eq!(circle(&needs, &[]), [0; 0]);
    }
}
