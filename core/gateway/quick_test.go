//go:build !chaos

package gateway

const chaos = false
