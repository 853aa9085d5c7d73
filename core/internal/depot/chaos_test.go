//go:build chaos

package depot_test

const chaos = true

// replacements is how often the executable is replaced while the gateway starts.
const replacements = 10_000
