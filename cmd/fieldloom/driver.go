package main

// driverWord is the words about drivers.
type driverWord struct {
	List     driverListWord     `cmd:"" help:"The driver packages, which of them is active, and why one may not run."`
	Install  driverInstallWord  `cmd:"" help:"Put a package into the drivers directory."`
	Remove   driverRemoveWord   `cmd:"" help:"Take a package out of the drivers directory."`
	Upgrade  driverUpgradeWord  `cmd:"" help:"Bring a driver to another version while it runs, without a gap."`
	Rollback driverRollbackWord `cmd:"" help:"Bring a driver back to the version before."`
	Enable   driverEnableWord   `cmd:"" help:"Let a driver run again that was disabled or quarantined."`
	Disable  driverDisableWord  `cmd:"" help:"Drain and stop a driver, until it is enabled."`
	Logs     driverLogsWord     `cmd:"" help:"The lines that a driver wrote."`
	Level    driverLevelWord    `cmd:"" help:"Set the level of a driver's log while it runs."`
	Try      driverTryWord      `cmd:"" help:"Run a driver in the foreground, for its author."`
	Keygen   driverKeygenWord   `cmd:"" help:"Make a key pair that signs packages."`
	Pack     driverPackWord     `cmd:"" help:"Make a signed package of executables and a draft of the manifest."`
	Sign     driverSignWord     `cmd:"" help:"Sign a package that lies in a directory."`
	Verify   driverVerifyWord   `cmd:"" help:"Check a package as a gateway does."`
}
