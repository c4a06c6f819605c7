# frozen_string_literal: true

require "erb"

# Nchan in nginx, with one worker per core and publications over HTTP.
class Nchan < Bench::Server
  def name
    "nchan"
  end

  def title
    "Nchan in nginx"
  end

  def install
    "bench/peers/nchan/install"
  end

  def ready?
    File.exist?("/usr/lib/nginx/modules/ngx_nchan_module.so")
  end

  def files(workspace)
    template = ERB.new(File.read(File.join(__dir__, "nginx.conf.erb")))
    { "nginx.conf" => template.result_with_hash(port: workspace.port, folder: workspace.folder) }
  end

  def command(workspace)
    ["/usr/sbin/nginx", "-c", File.join(workspace.folder, "nginx.conf")]
  end

  def load(workspace)
    load_arguments("nchan", workspace, "nchan://127.0.0.1:#{workspace.port}")
  end
end
