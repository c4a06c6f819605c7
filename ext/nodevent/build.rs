//! Tells the linker what a Ruby extension needs on macOS and Windows; on Linux it is nothing.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rb_sys_env::activate()?;
    Ok(())
}
