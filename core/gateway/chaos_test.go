//go:build chaos

package gateway

const chaos = true
