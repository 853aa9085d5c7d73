// Package simulator is a plant to test against: devices that answer, misbehave on demand, and count what was asked of them.
package simulator
