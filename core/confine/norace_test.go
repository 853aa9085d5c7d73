//go:build !race

package confine_test

const underRace = false
