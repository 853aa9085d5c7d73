//go:build !chaos

package spool_test

const chaos = false
