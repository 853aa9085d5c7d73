//go:build !chaos

package state_test

const chaos = false
