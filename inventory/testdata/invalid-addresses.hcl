cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "nuc01.local"
  role    = "control-plane"
}
node "b" { address = "192.168.1.12/24" }
node "c" { address = "fd00::1" }
node "d" { address = "127.0.0.1" }
node "e" { address = "192.168.1.300" }
node "f" { address = 19216811 }
node "g" { address = "10.244.3.4" }
node "h" { address = "10.96.0.5" }
node "i" {
  address  = "192.168.1.20"
  mac      = "01:00:5e:00:00:01"
  host_key = "ssh-ed25519 nonsense"
  port     = 70000
  labels   = { "bad key!" = "x", ok = "not ok!", "nucspark.io/hdfs" = "true" }
}
node "j" {}
