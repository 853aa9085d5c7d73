// Package drivertest helps to test drivers, and what runs drivers.
//
// Run is the conformance kit for a driver: named scenarios of what package driver
// demands, run against the author's own device or simulator. What a driver does
// not have is declared in the Setup; nothing is skipped in silence.
//
// Fake is a driver without a protocol, whose links and devices do what a test
// tells them to: answer, delay, fail, hang, panic, push. It waits by the time
// package only, so it works in a testing/synctest bubble.
package drivertest
