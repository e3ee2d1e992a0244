variable "unset" {
  default = env("NUCSPARK_TEST_NOT_SET")
}
variable "pw" {
  default   = env("NUCSPARK_TEST_PASSWORD")
  sensitive = true
}
variable "list" {
  default   = ["hunter2"]
  sensitive = true
}
variable "other" {
  default = var.pw
}
variable "none" {}
variable "odd name" { default = 1 }
cluster "a" { kubernetes = var.unset }
ssh {
  user     = env("USER")
  password = var.pww
}
node "nuc01" {
  address = var.pw
  role    = control-plane
  labels  = { a = "x-${var.pw}" }
}
node "nuc02" {
  address = foo("x")
  role    = vra.unset
  hdfs { dirs = [var.pw] }
}
