//go:build !chaos

package depot_test

const chaos = false

// replacements is how often the executable is replaced while the gateway starts: often
// with the build tag chaos.
const replacements = 300
