//go:build chaos

package e2e_test

// ghostKills is how often a core is killed around the start of a driver.
const ghostKills = 1000
