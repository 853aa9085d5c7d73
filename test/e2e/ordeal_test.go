package e2e_test

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/ordeal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// The ordeals of test/chaos in short.

var load = ordeal.Options{Devices: 20, Period: 100 * time.Millisecond, Registers: 100}

func TestDriverKilledThrice(t *testing.T) { ordeal.Kills(t, load, 0, 3) }

func TestDriverKilledWithStandby(t *testing.T) { ordeal.Kills(t, load, 1, 3) }

func TestDriverUpgraded(t *testing.T) { ordeal.Upgrades(t, load, 2) }

func TestDriverUpgradedToWhatIsBad(t *testing.T) {
	ordeal.BadUpgrades(t, load, []string{"name", "die"}, 1)
}

func TestWritesUnderKills(t *testing.T) { ordeal.Writes(t, load, 1000) }

func TestCoreRestarted(t *testing.T) { ordeal.Restarts(t, load, 1, 1, plant.Twin) }
