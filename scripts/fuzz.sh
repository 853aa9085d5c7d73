#!/usr/bin/env bash
# Run every fuzz target of the repository for FUZZTIME (60s), one after the other.
# A finding fails the run and leaves its input below testdata/fuzz of its package.
set -euo pipefail
GO=${GO:-go}
FUZZTIME=${FUZZTIME:-60s}
count=0
failed=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { $GO test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x "$dir" 2>&1 | tee "$log"; }
# Go's fuzzer may report its own end of time as a failure, without an input; such
# a run is repeated once. Anything else is a finding.
late() { grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; }
while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	count=$((count + 1))
	echo "== $dir $target for $FUZZTIME"
	if ! run && ! { late && run; }; then
		failed+=("$dir $target")
	fi
done < <(grep -rHoE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sed -E 's/^\.\///; s/func //' | sort)
if ((count == 0)); then
	echo "no fuzz target found" >&2
	exit 1
fi
if ((${#failed[@]})); then
	printf 'fuzz finding: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "$count fuzz targets, no finding"
