//go:build chaos

package samples

const chaos = true
