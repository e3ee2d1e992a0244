// Package e2e drives the nucspark binary as a person does, against a lab of
// real machines: systemd, sshd, apt, kubeadm, HDFS and Spark. It makes its own
// lab, named test, in a network of its own, and removes it at the end.
//
// The tests need the environment that make lab-test sets: NUCSPARK_LAB=1 and
// the path of the binary in NUCSPARK. Without it they are skipped and say so.
// Those whose name begins with TestLong need NUCSPARK_LONG=1 instead (make
// test-long), and have a lab each.
// NUCSPARK_LAB_KEEP=1 leaves the lab up for a look; NUCSPARK_LAB_NAME and
// NUCSPARK_LAB_SUBNET let it stand beside another one. The pages of Spark and
// HDFS are looked at in Chromium, which is installed where it is missing and
// there is consent (YES=1 or CI=true); without it that part says that it is
// skipped. NUCSPARK_PICTURES=DIR keeps pictures of them there.
//
// Tests named TestLong are those of make test-long (NUCSPARK_LONG=1): each
// makes a lab of its own.
package e2e
