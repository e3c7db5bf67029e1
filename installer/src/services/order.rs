//! The order of things that need each other, by their positions in a list. Both the desired state, where a circle is
//! a mistake, and the labels of containers, where it is cut, are put in order here.

/// Items in an order in which each comes after those that it needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Positions of the items, the first to come first. Of several that could be next, the first in the list is.
    pub(super) items: Vec<usize>,
    /// How many of `items` come before the first that a circle keeps from being next.
    pub(super) free: usize,
}

/// Orders as many items as `needs` has; each entry lists what that item needs. A circle is cut before the first of its
/// items in the list.
pub(super) fn order(needs: &[Vec<usize>]) -> Order {
    let (mut items, mut free) = (Vec::new(), None);
    let mut open: Vec<usize> = (0..needs.len()).collect();
    while !open.is_empty() {
        let waits =
            |item: &usize| needs.get(*item).is_some_and(|needs| needs.iter().any(|n| open.contains(n)));
        let ready = open.iter().position(|item| !waits(item));
        if ready.is_none() {
            free.get_or_insert(items.len());
        }
        items.push(open.remove(ready.unwrap_or(0)));
    }
    let free = free.unwrap_or(items.len());
    Order { items, free }
}

/// For each item what it really waits for, so that none waits for itself through others: of a circle, the edges that
/// [`order`] cut do not count.
pub(super) fn without_circles(needs: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let order = order(&needs);
    let turn = |item: usize| order.items.iter().position(|other| *other == item);
    let before = |need: &usize, item: usize| turn(*need) < turn(item);
    let items = needs.into_iter().enumerate();
    items.map(|(item, needs)| needs.into_iter().filter(|need| before(need, item)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_comes_after_what_it_needs() {
        let all = |items: &[usize]| Order { items: items.to_vec(), free: items.len() };
        assert_eq!(order(&[]), all(&[]));
        assert_eq!(order(&[vec![2], vec![0, 2], vec![]]), all(&[2, 0, 1]));
        assert_eq!(order(&[vec![], vec![], vec![0]]), all(&[0, 1, 2]));
    }

    #[test]
    fn a_circle_is_told_and_cut() {
        let circle = [vec![1], vec![0], vec![]];
        assert_eq!(order(&circle), Order { items: vec![2, 0, 1], free: 1 });
        assert_eq!(without_circles(circle.to_vec()), [vec![], vec![0], vec![]]);
        assert_eq!(order(&[vec![0]]), Order { items: vec![0], free: 0 });
        assert_eq!(without_circles(vec![vec![1], vec![2], vec![0]]).concat().len(), 2);
    }
}
