# frozen_string_literal: true

# A Dockerfile, executed as far as that is possible without containers: each stage is a folder, in which instructions
# are followed in order. The caller says which commands run, and gets them with the paths of the stage's folder.
class ImageBuild
  Stage = Struct.new(:name, :base, :folder, :environment, :instructions)

  attr_reader :stages

  # @param application [String] the folder with the Dockerfile, the context of the build
  # @param folder [String] an empty one
  def initialize(application, folder)
    @application = application
    @folder = folder
    @stages = parse(File.read(File.join(application, "Dockerfile")))
  end

  # The files of the context: those that .dockerignore does not leave out.
  def context
    @context ||= Dir.glob("**/*", File::FNM_DOTMATCH, base: @application).reject do |path|
      File.directory?(File.join(@application, path)) || ignored?(path)
    end
  end

  def stage(name)
    stages.find { |stage| stage.name == name } or raise "there is no stage #{name}"
  end

  # Follows the instructions of a stage.
  # @yieldparam command [String] that of a RUN, with the paths of this stage
  # @yieldparam environment [Hash{String => String}] what ENV has set
  # @yieldparam folder [String] that of WORKDIR
  def build(name, &)
    stage = stage(name)
    base = stages.find { |other| other.name == stage.base }
    prepare(base, stage) if base
    work = stage.environment.delete(:work) || "/"
    stage.instructions.each { |word, rest| work = follow(stage, word, rest, work, &) }
  end

  # The path of a file of a stage.
  def path(name, path)
    File.join(stage(name).folder, path)
  end

  private

  # Instructions may have several lines, and comments between them.
  def parse(text)
    lines = text.lines.grep_v(/^\s*(?:#|$)/).join.gsub(/\\\n\s*/, "").lines(chomp: true)
    stages = []
    lines.each do |line|
      word, rest = line.split(" ", 2)
      if word == "FROM"
        base, _, name = rest.split
        stages << Stage.new(name || "final", base, File.join(@folder, name || "final"), {}, [])
      elsif stages.any?
        stages.last.instructions << [word, rest]
      end
    end
    stages
  end

  # Commands of the base are not executed: they install packages.
  def prepare(base, stage)
    FileUtils.mkdir_p(stage.folder)
    base.instructions.each do |word, rest|
      set(stage, rest) if word == "ENV"
      stage.environment[:work] = rest if word == "WORKDIR"
    end
  end

  def follow(stage, word, rest, work)
    case word
    when "ENV" then set(stage, rest)
    when "WORKDIR" then return rest
    when "COPY" then copy(stage, rest, work)
    when "RUN"
      folder = File.join(stage.folder, work)
      FileUtils.mkdir_p(folder)
      yield rest.gsub(%r{(?<=[\s=])/(?=nodevent|built|rails)}, "#{stage.folder}/"), stage.environment, folder
    end
    work
  end

  def set(stage, text)
    text.scan(/(\w+)="([^"]*)"/) { |name, value| stage.environment[name] = value }
  end

  # Images of others are not here.
  def copy(stage, rest, work)
    options, words = rest.split.partition { |word| word.start_with?("--") }
    from = options.filter_map { |option| option[/\A--from=(.*)/, 1] }.first
    *sources, target = words
    target = File.join(stage.folder, File.expand_path(target, work))
    return sources.each { |source| copy_context(source, target, single: sources.one?) } unless from

    return unless stages.any? { |other| other.name == from }

    FileUtils.mkdir_p(target)
    sources.each { |source| FileUtils.cp_r(File.join(path(from, source), "."), target) }
  end

  # The content of a folder, or files into a folder.
  def copy_context(source, target, single:)
    return copy_file(source, File.join(target, source)) if File.file?(File.join(@application, source))

    raise "COPY #{source} has several sources" unless single

    prefix = source == "." ? "" : "#{source}/"
    context.select { |path| path.start_with?(prefix) }.each do |path|
      copy_file(path, File.join(target, path.delete_prefix(prefix)))
    end
  end

  def copy_file(path, target)
    FileUtils.mkdir_p(File.dirname(target))
    FileUtils.cp(File.join(@application, path), target, preserve: true)
  end

  # The last pattern that matches the file, or a folder above it, decides.
  def ignored?(path)
    above = path.split("/").each_with_index.map { |_, index| path.split("/").first(index + 1).join("/") }
    patterns.reverse_each do |pattern, ignored|
      return ignored if above.any? { |name| File.fnmatch?(pattern, name, File::FNM_PATHNAME | File::FNM_DOTMATCH) }
    end
    false
  end

  def patterns
    lines = File.readlines(File.join(@application, ".dockerignore"), chomp: true)
    @patterns ||= lines.grep_v(/\A\s*(?:#|\z)/).map do |line|
      [line.delete_prefix("!").delete_prefix("/").chomp("/"), !line.start_with?("!")]
    end
  end
end
