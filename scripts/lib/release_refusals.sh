#!/bin/bash
# What scripts/release refuses, and that a refusal, a dry run and a failed build change nothing; in a
# copy of the tree. A release that succeeds takes minutes and is no part of this.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$ROOT/scripts/lib/messages.sh"
source "$ROOT/scripts/lib/at_exit.sh"
folder=$(mktemp -d)
at_exit rm -rf "$folder"
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@invalid.example
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

tar -C "$ROOT" --exclude=./target --exclude=./.cache --exclude=./dist --exclude=./.git -c . | tar -C "$folder" -x
cd "$folder"
printf '# Changelog\n\n## Unreleased\n\n- A new line.\n\n## 0.1.0\n\n- An old line.\n' >CHANGELOG.md
sed -i '/^\[workspace\.package\]/,/^\[/s/^version = .*/version = "0.9.0"/' Cargo.toml
git init --quiet
git add --all
git commit --quiet --message "before"
before=$(git rev-parse HEAD)

# unchanged WHAT: neither the tree nor a tag nor an output is there.
unchanged() {
    local changes
    changes=$(git status --porcelain; git tag; ls -d dist/release* 2>/dev/null || true)
    [[ -z $changes && $(git rev-parse HEAD) == "$before" ]] || die "$1 changed something: $changes"
}

# refused REASON ARGUMENT…
refused() {
    local reason=$1 said
    shift
    ! said=$(scripts/release "$@" 2>&1) || die "scripts/release $* was not refused"
    [[ $said == *"$reason"* ]] || die "scripts/release $* says, instead of \`$reason\`: $said"
}

refused "no version is given"
refused "is no version" 1.0
refused "is no version" v1.0.0
refused "is no version" 1.0.00
refused "there are two versions" 1.0.0 1.0.1
refused "exclude each other" 1.0.0 --commit --dry-run
refused "does not know" 1.0.0 --force
refused "below 0.9.0" 0.8.12
refused "below 0.9.0" 0.1.0
unchanged "a refusal"

said=$(scripts/release 0.10.0 --dry-run)
[[ $said == *"0.9.0 → 0.10.0"* && $said == *"- A new line."* && $said != *"old"* ]] || die "the dry run says: $said"
unchanged "a dry run"

# The present version counts as made once it has a tag, or notes of its own.
said=$(scripts/release 0.9.0 --dry-run)
[[ $said == *"0.9.0, as Cargo.toml says already"* && $said == *"- A new line."* ]] || die "the dry run says: $said"
unchanged "a dry run of the present version"
git tag v0.9.0
refused "the tag v0.9.0 exists" 0.9.0
git tag --delete v0.9.0 >/dev/null
sed -i 's/^## 0\.1\.0$/## 0.9.0 (2026-01-01)/' CHANGELOG.md
git commit --quiet --all --message "notes of the present version"
refused "has notes of 0.9.0 already" 0.9.0
git reset --quiet --hard "$before"
unchanged "a refusal"

# A build that fails: there is no such crate.
sed -i 's/--package bundler/--package nothing-of-this-name/' scripts/build
git commit --quiet --all --message "a build that fails"
before=$(git rev-parse HEAD)
refused "nothing-of-this-name" 0.10.0 --commit
refused "nothing-of-this-name" 0.9.0 --commit
unchanged "a build that failed"

touch new
refused "the tree has changes" 0.10.0
rm new
git tag v0.10.0
refused "the tag v0.10.0 exists" 0.10.0
git tag --delete v0.10.0 >/dev/null
mkdir -p dist/release-0.10.0
refused "dist/release-0.10.0 exists" 0.10.0
rm -r dist
sed -i '/A new line/d' CHANGELOG.md
git commit --quiet --all --message "no notes"
before=$(git rev-parse HEAD)
refused "no notes under" 0.10.0
unchanged "a refusal"
say "  refusals, a dry run and a failed build: nothing is changed"
