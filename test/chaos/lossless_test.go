//go:build chaos

// Package chaos_test breaks a whole gateway as long as an operator's years may, with the
// simulator's witness as the judge and the spool as the evidence.
package chaos_test

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/ordeal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// load is 100 devices with 100 registers, ten times a second.
var load = ordeal.Options{Devices: 100, Period: 100 * time.Millisecond, Registers: 100}

func TestDriverKilledCold(t *testing.T) { ordeal.Kills(t, load, 0, 100) }

func TestDriverKilledStandby(t *testing.T) { ordeal.Kills(t, load, 1, 100) }

func TestDriverKilledStandbyTwice(t *testing.T) {
	often := load
	often.Period = 50 * time.Millisecond
	ordeal.Kills(t, often, 1, 100)
}

func TestDriverUpgraded(t *testing.T) { ordeal.Upgrades(t, load, 50) }

func TestDriverUpgradedToWhatIsBad(t *testing.T) { ordeal.BadUpgrades(t, load, ordeal.Ways(), 2) }

func TestWritesUnderKills(t *testing.T) {
	few := load
	few.Devices = 20
	ordeal.Writes(t, few, 50_000)
}

func TestCoreRestarted(t *testing.T) { ordeal.Restarts(t, load, 30, 10, plant.Rebuild) }
