//go:build race

package confine_test

// underRace: each start takes a second, and hundreds of megabytes.
const underRace = true
