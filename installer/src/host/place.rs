//! Where a product lies: in `ROOT/products/NAME`. Ferry up to 0.2.0 put it at `ROOT/NAME`, beside folders of its own.
//!
//! Invariant: at every instant a product lies at one of the two places whole, and each path below `ROOT/NAME` leads to
//! it. Containers hold absolute paths, and an engine that misses one at its start makes an empty folder there: so the
//! folder and a link change places in one step, and the link stays as long as the product.
//!
//! ```text
//! ROOT/NAME/…                                           the old place
//! ROOT/NAME/…             ROOT/products/NAME → nowhere  about to move
//! ROOT/NAME → products/NAME        ROOT/products/NAME/…  the new place
//! ```
//!
//! The link also leads a program of 0.1.0 to the folder `state.json`, which it refuses ([`super::versioned`]).

use super::files::make_private_dir;
use super::folder::{EXTERNAL, GUARD, OVERRIDE, ProductDir, Root, STATE, STATE_1, STATE_1_ASIDE};
use anyhow::{Context, Result};
use ferry_terminal::whole_file::sync_folder;
use ferry_terminal::{Class, Failure};
use manifest_schema::ProjectName;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The folder of all products.
pub(super) const PRODUCTS: &str = "products";

/// All that lies in a product's folder. Needed only where Ferry keeps something else there.
const OF_PRODUCT: [&str; 21] = [
    "lock",
    STATE,
    STATE_1,
    STATE_1_ASIDE,
    GUARD,
    "steps.jsonl",
    "steps.old.jsonl",
    "journal.jsonl",
    "answers.json",
    "answers.new.json",
    "answers.tried.json",
    "values.json",
    "values.new.json",
    "values.tried.json",
    "releases",
    "bundles",
    "current",
    ".current-new",
    "data",
    EXTERNAL,
    OVERRIDE,
];

/// The product `name` below `root`: where it is recorded, else where something of it lies, else the new place.
pub(super) fn of(root: &Path, name: &ProjectName) -> ProductDir {
    let (new, old) = (root.join(PRODUCTS).join(name.as_str()), root.join(name.as_str()));
    // What is Ferry's own at the old place is a product's only where one is recorded in it.
    let lies_there = || old.is_dir() && !is_signpost(&old) && (!name.is_ferrys() || has_state(&old));
    let path = if !has_state(&new) && lies_there() { old.clone() } else { new };
    ProductDir { path, old_place: old }
}

/// A product is recorded in the folder, by this program or by 0.1.0.
pub(super) fn has_state(folder: &Path) -> bool {
    [STATE, STATE_1, STATE_1_ASIDE, GUARD].iter().any(|name| folder.join(name).is_file())
}

/// The link that stands at the old place, `ROOT/NAME`.
fn is_signpost(old: &Path) -> bool {
    old.file_name().is_some_and(|name| fs::read_link(old).is_ok_and(|link| link == signpost(Path::new(name))))
}

/// The target of that link. At the new place it leads nowhere.
fn signpost(name: &Path) -> PathBuf {
    Path::new(PRODUCTS).join(name)
}

/// Ferry's folder that a product's folder, wherever it lies, belongs to.
#[must_use]
pub(crate) fn root_of(product: &Path) -> Option<&Path> {
    let above = product.parent()?;
    // Ferry's folder may itself be called `products`.
    let is_root = above.join("trust").is_dir() || above.file_name().is_none_or(|name| name != PRODUCTS);
    if is_root { Some(above) } else { above.parent() }
}

impl ProductDir {
    fn is_at_old_place(&self) -> bool {
        self.path == self.old_place
    }

    /// Ferry keeps something of its own in this folder, too.
    pub(super) fn is_shared(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()?.parse().ok());
        self.is_at_old_place() && name.is_some_and(|name: ProjectName| name.is_ferrys())
    }

    /// The thing at `path`, in this folder, is the product's.
    pub(super) fn is_of_product(&self, path: &Path) -> bool {
        let known = || path.file_name().is_some_and(|name| OF_PRODUCT.iter().any(|known| name == *known));
        !self.is_shared() || known()
    }

    /// `folder` is the one that labels name as this product's `current`, at either place.
    #[must_use]
    pub(crate) fn is_current(&self, folder: &Path) -> bool {
        [&self.path, &self.old_place].iter().any(|place| place.join("current") == folder)
    }

    /// The name that [`ProductDir::data`] keeps when the product moves.
    #[must_use]
    pub(crate) fn data_known_as(&self) -> PathBuf {
        self.old_place.join("data")
    }

    /// Nothing stands in the way of a product here.
    ///
    /// # Errors
    /// When there are two products of this name, one is called `products`, or the product has moved meanwhile.
    pub(super) fn check_place(&self) -> Result<()> {
        let refused =
            |fact: String, hint: String| Err(Failure::new(Class::Preflight, fact).hint(hint).into());
        if self.is_at_old_place() {
            if is_signpost(&self.old_place) {
                let fact = format!("another process has just moved {}", self.path.display());
                return refused(fact, "run the same command again".to_owned());
            }
            return Ok(());
        }
        if let Some(products) = self.path.parent().filter(|products| has_state(products)) {
            return refused(
                format!("{} is the folder of a product called {PRODUCTS}", products.display()),
                format!("uninstall that one first: `fz uninstall --product {PRODUCTS}`"),
            );
        }
        if has_state(&self.old_place) && !is_signpost(&self.old_place) {
            return refused(
                format!("{} and {} both hold this product", self.path.display(), self.old_place.display()),
                "move the one away that does not run: `docker inspect` of a container shows its mounts"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Leaves the link at the old place that leads here.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn leave_signpost(&self) -> Result<()> {
        let old = &self.old_place;
        if self.is_at_old_place() || old.symlink_metadata().is_ok() {
            return Ok(());
        }
        let name = Path::new(self.path.file_name().unwrap_or_default());
        symlink(signpost(name), old).with_context(|| format!("creating the link {}", old.display()))?;
        old.parent().map_or(Ok(()), sync_folder)
    }

    /// Removes that link, last of all.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn remove_signpost(&self) -> Result<()> {
        if self.is_at_old_place() || !is_signpost(&self.old_place) {
            return Ok(());
        }
        super::files::remove(&self.old_place)
    }

    /// The product lies at the old place and can be moved.
    #[must_use]
    pub(crate) fn may_move(&self) -> bool {
        let is_folder = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_dir());
        self.is_at_old_place() && !self.is_shared() && is_folder
    }

    /// Moves the product to the new place, in one step; `false` where it has to stay, since the file system cannot do
    /// that. Can be repeated after a cut at any point. Callers ask [`Root::product`] again.
    ///
    /// # Errors
    /// When the folder of all products cannot be made or written.
    pub(crate) fn move_to_products(&self, root: &Root) -> Result<bool> {
        let Some(name) = self.path.file_name().filter(|_| self.may_move()) else { return Ok(false) };
        let (name, products) = (Path::new(name), root.path().join(PRODUCTS));
        let new = products.join(name);
        if has_state(&products) {
            return Ok(false);
        }
        make_private_dir(&products)?;
        let doing = || format!("moving {} to {}", self.path.display(), new.display());
        // Left by a move that was cut off, or by nobody that we know.
        let link = fs::read_link(&new);
        if link.as_ref().is_ok_and(|link| *link != signpost(name)) || (link.is_err() && new.exists()) {
            return Ok(false);
        }
        if link.is_err() {
            symlink(signpost(name), &new).with_context(doing)?;
        }
        match renameat_with(CWD, &self.path, CWD, &new, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::BUSY) => {
                fs::remove_file(&new).with_context(doing)?;
                return Ok(false);
            }
            Err(error) => return Err(std::io::Error::from(error)).with_context(doing),
        }
        sync_folder(&products)?;
        sync_folder(root.path())?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(&folder.path().join("ferry")).unwrap();
        fs::create_dir(root.path()).unwrap();
        (folder, root)
    }

    fn name(text: &str) -> ProjectName {
        text.parse().unwrap()
    }

    /// A product with a record and data, at the old place.
    fn old(root: &Root, product: &str) {
        let path = root.path().join(product);
        fs::create_dir_all(path.join("data")).unwrap();
        fs::write(path.join("data/rows"), "precious").unwrap();
        fs::write(path.join(STATE), "{}").unwrap();
    }

    #[test]
    fn a_new_product_lies_below_products_and_the_old_path_leads_to_it() {
        let (_folder, root) = root();
        let product = root.product(&name("shop"));
        assert_eq!(product.path(), root.path().join("products/shop"));
        let mut lock = product.lock().unwrap();
        lock.keep_folder();
        super::super::versioned::write(&product, STATE, &1).unwrap();
        assert!(root.path().join("shop/installed.json").is_file());
        assert!(root.path().join("shop/state.json").is_dir(), "0.1.0 is not shut out");
        assert_eq!(root.products().unwrap(), [name("shop")]);
        assert!(product.remove_but(&[]).unwrap().is_empty());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "only `products` is left");
    }

    #[test]
    fn a_move_that_is_cut_off_anywhere_leaves_every_path_whole() {
        let stages: [&dyn Fn(&Root); 3] =
            [&|_| {}, &|root| fs::create_dir(root.path().join("products")).unwrap(), &|root| {
                fs::create_dir(root.path().join("products")).unwrap();
                symlink("products/shop", root.path().join("products/shop")).unwrap();
            }];
        for (number, stage) in stages.iter().enumerate() {
            let (_folder, root) = root();
            old(&root, "shop");
            stage(&root);
            let product = root.product(&name("shop"));
            assert_eq!(product.path(), root.path().join("shop"), "{number}: it is still there");
            assert_eq!(root.products().unwrap(), [name("shop")], "{number}");
            drop(product.lock().unwrap());
            assert!(product.move_to_products(&root).unwrap(), "{number}");
            for _ in 0..2 {
                let product = root.product(&name("shop"));
                assert_eq!(product.path(), root.path().join("products/shop"), "{number}");
                assert!(!product.move_to_products(&root).unwrap(), "{number}: once is enough");
                for path in ["shop/data/rows", "products/shop/data/rows"] {
                    assert_eq!(fs::read_to_string(root.path().join(path)).unwrap(), "precious", "{number}");
                }
                assert_eq!(product.data_known_as(), root.path().join("shop/data"));
                assert_eq!(root.products().unwrap(), [name("shop")]);
                drop(product.lock().unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_folder_of_ours_stays_where_it_is() {
        let (folder, root) = root();
        old(&root, "shop");
        // An administrator has put the product on another disk.
        let disk = folder.path().join("disk");
        fs::rename(root.path().join("shop"), &disk).unwrap();
        symlink(&disk, root.path().join("shop")).unwrap();
        let product = root.product(&name("shop"));
        assert_eq!(product.path(), root.path().join("shop"));
        assert!(!product.move_to_products(&root).unwrap());
        assert!(!root.path().join("products").exists());
        // Somebody else's folder at the new place.
        old(&root, "plant");
        fs::create_dir_all(root.path().join("products/plant/mine")).unwrap();
        assert!(!root.product(&name("plant")).move_to_products(&root).unwrap());
        assert_eq!(root.product(&name("plant")).path(), root.path().join("plant"));
    }

    #[test]
    fn a_product_at_both_places_is_changed_at_neither() {
        let (_folder, root) = root();
        old(&root, "shop");
        assert!(root.product(&name("shop")).move_to_products(&root).unwrap());
        fs::remove_file(root.path().join("shop")).unwrap();
        old(&root, "shop");
        let error = root.product(&name("shop")).lock().unwrap_err().to_string();
        assert!(error.contains("both hold this product"), "{error}");
    }

    #[test]
    fn a_product_in_a_folder_of_ferrys_own_is_removed_without_what_is_ferrys() {
        let (_folder, root) = root();
        for folder in ["trust", "bin", "products"] {
            old(&root, folder);
        }
        fs::write(root.allowed_signers(), "pins").unwrap();
        fs::write(root.program(), "fz").unwrap();
        assert_eq!(root.products().unwrap(), ["bin", "products", "trust"].map(name));
        let error = root.product(&name("shop")).lock().unwrap_err().to_string();
        assert!(error.contains("is the folder of a product called products"), "{error}");
        old(&root, "shop");
        fs::create_dir(root.path().join("products/other")).unwrap();
        for folder in ["trust", "bin", "products"] {
            let product = root.product(&name(folder));
            assert_eq!(product.path(), root.path().join(folder));
            assert!(!product.move_to_products(&root).unwrap());
            let spared = [product.data(), product.external(), product.file(OVERRIDE)];
            fs::create_dir(&spared[1]).unwrap();
            fs::write(&spared[2], "services: {}").unwrap();
            assert_eq!(product.remove_but(&spared).unwrap(), spared, "the site's own files are left");
            let _ = product.remove_but(&[]).unwrap();
            assert!(!product.file("data").exists());
        }
        assert_eq!(fs::read_to_string(root.allowed_signers()).unwrap(), "pins");
        assert_eq!(fs::read_to_string(root.program()).unwrap(), "fz");
        assert!(root.path().join("products/other").is_dir());
        assert_eq!(root.products().unwrap(), [name("shop")]);
        assert!(root.product(&name("shop")).move_to_products(&root).unwrap());
    }
}
