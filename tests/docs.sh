#!/bin/bash
# The documents: the reference is what the program's tables say, and no link or name of a file leads nowhere.
cd "$(dirname "$0")/.." || exit 99
n=0 bad=0
report() { # STATUS NAME [REMARK]
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else bad=$((bad + 1)); echo "not ok $n - $2"; printf '%s\n' "${3:-}" | sed 's/^/#   /'; fi
}

difference=$("${CIRRUSFS:-build/cirrusfs}" help tree | diff docs/tree.md - 2>&1)
report $? "docs/tree.md is up to date (else: make docs)" "$(head -n 20 <<< "$difference")"

difference=$(sed -n '/^| key | default/,/^$/{/^$/!p}' docs/operating.md | diff - <("${CIRRUSFS:-build/cirrusfs}" help settings) 2>&1)
report $? "the settings in docs/operating.md are up to date (else: make docs)" "$(head -n 20 <<< "$difference")"

missing=$(for doc in README.md docs/*.md; do
	grep -oE '\]\([^)#]+' "$doc" | cut -c 3- | grep -v '^https*:' | while read -r link; do
		[ -e "$(dirname "$doc")/$link" ] || echo "$doc: $link"
	done
done)
[ -z "$missing" ]
report $? "links between documents lead somewhere" "$missing"

# `fs/tree/node.c`, `tests/mount/lib.sh`: names of files of the project, in backquotes
missing=$(grep -oHE '`(backends|fs|tools|tests|docs)/[A-Za-z0-9_./-]+`' README.md docs/*.md | sed 's/`//g' | sort -u | while IFS=: read -r doc file; do
	[ -e "$file" ] || echo "$doc: $file"
done)
[ -z "$missing" ]
report $? "files named in the documents are there" "$missing"

missing=$(grep -ohE 'make [a-z][a-z-]+' README.md docs/*.md | sort -u | while read -r _ target; do
	grep -qE "^([a-z-]+ )*$target( [a-z-]+)*:" Makefile || echo "make $target"
done)
[ -z "$missing" ]
report $? "make's targets named in the documents are there" "$missing"

echo "1..$n"
[ "$bad" = 0 ]
