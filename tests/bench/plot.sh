#!/bin/bash
# A picture of what `make bench` measured: every figure that has a reference, as the ratio to it, over the runs kept in RESULTS
# (COMMIT<TAB>NAME<TAB>VALUE<TAB>UNIT<TAB>REFERENCE<TAB>RATIO).  plot.sh RESULTS OUT.svg
set -euo pipefail
results=$1 out=$2
command -v gnuplot > /dev/null || { echo "bench-plot draws with gnuplot (Debian: gnuplot-nox)" >&2; exit 1; }
[ -s "$results" ] || { echo "there is nothing to draw yet: make bench measures" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# runs in the order in which they came; a file a figure
awk -F '\t' -v dir="$dir" '
	$1 != last { last = $1; print $1 > (dir "/runs"); run++ }
	$6 ~ /^[0-9.]+$/ { if (!($2 in no)) { no[$2] = ++n; print $2 > (dir "/names") } print run - 1, $6 > (dir "/" no[$2]) }' "$results"
{
	echo "set terminal svg size 1100,650 dynamic background 'white'; set output '$out'"
	echo "set title 'cirrusfs beside its references (1: as fast; below: faster)'; set ylabel 'ratio'; set logscale y 2; set grid ytics"
	echo "set key outside right; set xrange [-0.5:$(wc -l < "$dir/runs" | awk '{ print $1 - 0.5 }')]; set xtics rotate by 45 right"
	awk '{ printf "%s\"%s\" %d", (NR > 1 ? ", " : "set xtics ("), $1, NR - 1 } END { print ")" }' "$dir/runs"
	i=0
	while IFS= read -r name; do
		i=$((i + 1))
		printf "%s'%s' with linespoints lw 2 title '%s'" "$([ $i = 1 ] && echo 'plot ' || echo ', ')" "$dir/$i" "${name//\'/}"
	done < "$dir/names"
	echo
} > "$dir/plot"
gnuplot "$dir/plot"
echo "$out"
