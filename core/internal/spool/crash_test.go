package spool_test

// childEnv names the work that this test binary does when it runs itself.
const childEnv = "SPOOL_TEST_CHILD"

var children = map[string]func(){}
